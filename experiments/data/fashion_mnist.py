"""Fashion-MNIST, from its four original files or as prepared by TFDS.

They are gzipped IDX files with the names of MNIST's, and therefore checked to be these.

Source: H. Xiao, K. Rasul, R. Vollgraf, *Fashion-MNIST: a novel image dataset for
benchmarking machine learning algorithms* (arXiv 1708.07747).
"""

from experiments.data import idx
from experiments.data.files import Original

TITLE = "Fashion-MNIST"
SHAPE = idx.SHAPE
SIZES = (55_000, 5_000, 10_000)
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FILES = {  # gzipped, as published
    "train-images-idx3-ubyte.gz": Original(
        26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
    ),
    "train-labels-idx1-ubyte.gz": Original(
        29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
    ),
    "t10k-images-idx3-ubyte.gz": Original(
        4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
    ),
    "t10k-labels-idx1-ubyte.gz": Original(
        5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
    ),
}
ORIGINALS = f"the four original files ({', '.join(FILES)}; from {ADDRESS})"

from_folder, from_prepared, from_download = idx.sources(
    "fashion_mnist", TITLE, ADDRESS, FILES, SIZES
)
