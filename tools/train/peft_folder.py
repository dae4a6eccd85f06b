"""A trained adapter as the folder that ships."""

import json
import shutil
from pathlib import Path

from peft import PeftModel
from safetensors.torch import load_file, save_file


def save(model: PeftModel, folder: Path, base_model: str) -> None:
    """PEFT's folder, its tensors rounded to f16, without what no reader needs."""
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    path = folder / "adapter_model.safetensors"
    save_file({name: tensor.half().contiguous() for name, tensor in load_file(path).items()}, path)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base_model
    config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
