"""`python -m XrayCTRegistrationLib.cli`, the same as `xrayct`: for torchrun, which starts modules."""

from . import main

main()
