"""The offline builder: policy families, training, export, quantization, proof and packing."""
