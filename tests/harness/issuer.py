# SPDX-License-Identifier: Apache-2.0
"""An issuer of tokens for tests: keys, tokens, and a JWK set behind HTTP that can change, be away, and counts who asks."""

import base64
import hashlib
import http.server
import json
import threading
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NAME = "https://issuer.example"
AUDIENCE = "windlass-test"


def b64(data):
    if isinstance(data, (dict, list)):
        data = json.dumps(data)
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=").decode()


class Key:
    """A key pair with its public JWK."""

    def __init__(self, kid, alg="RS256", bits=2048, **members):
        self.kid, self.alg = kid, alg
        if alg.startswith(("RS", "PS")):
            self.private = rsa.generate_private_key(65537, bits)
            self.algorithm = jwt.algorithms.RSAAlgorithm
        elif alg.startswith("ES"):
            self.private = ec.generate_private_key({"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}[alg]())
            self.algorithm = jwt.algorithms.ECAlgorithm
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()
            self.algorithm = jwt.algorithms.OKPAlgorithm
        self.jwk = {**json.loads(self.algorithm.to_jwk(self.private.public_key())), "use": "sig", "alg": alg, **members}
        self.jwk.pop("key_ops", None)
        if kid:
            self.jwk["kid"] = kid
        self.jwk = {k: v for k, v in self.jwk.items() if v is not None}

    def pem(self):
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def claims(**changes):
    """Good claims; None takes one away."""
    now = int(time.time())
    whole = {"iss": NAME, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600, "scope": "enqueue read cancel", **changes}
    return {k: v for k, v in whole.items() if v is not None}


def token(key, headers=None, alg=None, **changes):
    return jwt.encode(claims(**changes), key.private, algorithm=alg or key.alg, headers={"kid": key.kid, **(headers or {})} if key.kid else headers)


def raw_token(header, payload, signature):
    """Parts as they are: objects, or texts that are JSON already."""
    return f"{b64(header)}.{b64(payload)}.{b64(signature)}"


class Issuer:
    """The JWK set at self.url; `away` makes it answer 503, and `asked` counts requests that came."""

    def __init__(self, *keys):
        self.keys, self.away, self.asked, self.unchanged = list(keys), False, 0, 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                body = json.dumps({"keys": [k.jwk if isinstance(k, Key) else k for k in issuer.keys]}).encode()
                etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
                if issuer.away:
                    return self.answer(503, b"")
                if self.headers.get("If-None-Match") == etag:
                    issuer.unchanged += 1
                    return self.answer(304, b"", etag)
                return self.answer(200, body, etag)

            def answer(self, status, body, etag=None):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "application/jwk-set+json")
                self.send_header("Cache-Control", "public, max-age=3600")
                if etag:
                    self.send_header("ETag", etag)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def settings(self, **more):
        return {"WINDLASS_JWT_ISSUER": NAME, "WINDLASS_JWT_AUDIENCE": AUDIENCE, "WINDLASS_JWT_JWKS": self.url, **more}
