"""Runs the HTTP server of llama.cpp from the package xllamacpp until standard input ends."""

import json
import sys

import xllamacpp


def main(path, settings):
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_ctx = settings.get("context", 1024)
    parameters.n_parallel = settings.get("slots", 4)
    parameters.n_gpu_layers = 0
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    # Full precision: by default, keys and values have 16 bits.
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.port = 0
    parameters.warmup = False
    if "template" in settings:
        parameters.chat_template = settings["template"]
    if "key" in settings:
        parameters.api_keys = [settings["key"]]
    server = xllamacpp.Server(parameters)
    print(json.dumps({"url": server.listening_address}), flush=True)
    sys.stdin.read()


main(sys.argv[1], json.loads(sys.argv[2]))
