"""Kuzushiji-MNIST, from its four original files or as prepared by TFDS.

They are gzipped IDX files with the names of MNIST's, and therefore checked to be these.

Source: T. Clanuwat et al., *Deep learning for classical Japanese literature* (arXiv
1812.01718).
"""

from experiments.data import idx
from experiments.data.files import Original

TITLE = "Kuzushiji-MNIST"
SHAPE = idx.SHAPE
SIZES = (55_000, 5_000, 10_000)
ADDRESS = "http://codh.rois.ac.jp/kmnist/dataset/kmnist/"
FILES = {  # gzipped, as published
    "train-images-idx3-ubyte.gz": Original(
        18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"
    ),
    "train-labels-idx1-ubyte.gz": Original(
        29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"
    ),
    "t10k-images-idx3-ubyte.gz": Original(
        3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"
    ),
    "t10k-labels-idx1-ubyte.gz": Original(
        5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"
    ),
}
ORIGINALS = f"the four original files ({', '.join(FILES)}; from {ADDRESS})"

from_folder, from_prepared, from_download = idx.sources(
    "kmnist", TITLE, ADDRESS, FILES, SIZES
)
