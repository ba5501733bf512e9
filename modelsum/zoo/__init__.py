"""The documented architectures, written out family by family in plain torch.

    >>> from modelsum import zoo
    >>> zoo.find("resnet50").source
    'He et al. 2015, Table 1'
    >>> net = zoo.build("resnet50", num_classes=10)

Importing this package, and looking names up in it, does not import torch; building a network does.
"""

from modelsum.zoo.registry import ARCHITECTURES, Architecture, build, find

__all__ = ["ARCHITECTURES", "Architecture", "build", "find"]
