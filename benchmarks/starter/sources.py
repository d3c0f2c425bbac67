"""Where the starter model's data and first weights are from, and whose figures are cited, as the documents say it."""

DATA = (
    "[Clothing Co-Parsing](https://github.com/bearpaw/clothing-co-parsing) (Wei Yang, Ping Luo, Liang Lin: "
    "*Clothing Co-Parsing by Joint Image Segmentation and Labeling*, CVPR 2014)"
)
DATA_LICENCE = "Apache-2.0, the licence of its repository"
MAPPING = (
    "Its 59 tags were mapped onto Fashionpedia's 46 categories, which fall into 13 classes with the background. "
    "Photos are about 550 x 830 pixels and show one main person each; people behind are not labelled, and hair, skin "
    "and jewellery are background."
)
WEIGHTS = (
    "ImageNet weights of MobileNetV2 1.0 from "
    "[google-coral/test_data](https://github.com/google-coral/test_data), turned back from 8 bits into float32, with "
    "the statistics of batch normalisation estimated anew on 256 unlabelled photos"
)
WEIGHTS_LICENCE = "Apache-2.0"
FIRST_IMPLEMENTATION = (
    "The first implementation of this design reported a mean IoU of 0.544 and a mean F1 of 0.679 on Fashionpedia's "
    "validation photos: U-Net with a MiT-B1 encoder, photos squashed to 512 x 512 pixels, 7 epochs on one L4 GPU. "
    "These are its makers' figures, which we have not repeated. They are of other photos than the scores in this "
    "report, and cannot be compared with them."
)
FASHIONPEDIA_COMMANDS = """\
uv run data_prep.py
uv run train.py
uv run clothseg evaluate checkpoints/last.ckpt data --output scores-fashionpedia"""
