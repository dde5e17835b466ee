"""Several bones of one CT, each with a pose of its own: a trunk that bends, a wrist that moves.

segments       what a segmentation calls a bone, and where that lies in the CT
names          how people call bones, TotalSegmentator's numbers, names of files
anatomy        the CT taken apart into bones and everything else, which add up to it
joints         what is known of the motion between neighbours
levels         one resolution of bones that stand each at a pose of its own
descent        the poses: one bone after another, then all together
registration   the whole, as a stepper
"""
