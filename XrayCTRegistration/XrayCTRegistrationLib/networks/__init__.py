"""Learned similarities: the seed's dual-branch network and the two it was compared with, behind one interface.

value = similarity(network, volume, x-rays, poses)      lower is more alike, differentiable in the poses
"""
