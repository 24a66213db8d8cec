"""sentence-transformers behind a minimal HTTP server: the peer of bench_serve.py.

It has one route, /v1/embeddings with base64, and computes a request at a time, on all
cores. bench_serve.py --peer_python starts it; by hand:
  python benchmarks/peers/sbert_server.py --model=DIR --port=8126
"""

import argparse
import asyncio
import base64
import sys
from concurrent.futures import ThreadPoolExecutor

try:
    import torch
    import uvicorn
    from sentence_transformers import SentenceTransformer
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route
except ImportError as error:
    sys.exit(f"{error.name} is not installed: see benchmarks/peers/README.md")


def read_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="a sentence-transformers folder")
    parser.add_argument("--port", type=int, default=8126, help="at 127.0.0.1")
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--bfloat16", action="store_true", help="torch's autocast")
    return parser.parse_args()


def main() -> None:
    given = read_flags()
    model = SentenceTransformer(given.model, device="cpu")
    model.max_seq_length = given.max_seq_length
    thread = ThreadPoolExecutor(1)

    def encode(texts):
        with torch.autocast("cpu", torch.bfloat16, given.bfloat16):
            vectors = model.encode(texts, show_progress_bar=False)
        return [base64.b64encode(v.astype("<f4").tobytes()).decode() for v in vectors]

    async def embeddings(request):
        body = await request.json()
        loop = asyncio.get_running_loop()
        values = await loop.run_in_executor(thread, encode, body["input"])
        data = [
            {"object": "embedding", "index": i, "embedding": value}
            for i, value in enumerate(values)
        ]
        return JSONResponse({"object": "list", "data": data, "model": body["model"]})

    encode(["ready"])
    served = Starlette(routes=[Route("/v1/embeddings", embeddings, methods=["POST"])])
    uvicorn.run(served, port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
