"""COCO annotations: opened without building millions of objects, and checked before native code sees them."""
