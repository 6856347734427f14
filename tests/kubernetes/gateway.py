"""A gateway as the chart renders it: what its container gets in a pod, with Secrets that are files here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bcrypt
import trustme

SERVICE = "budget-token-budget-sidecar-gateway"
HOST = f"{SERVICE}.agents.svc"
AGENT, BOARD, OPERATOR = "agent-0123456789abcdef", "board-0123456789abcdef", "operator-0123456789abcdef"
PASSWORD = "scrape-0123456789abcdef"


def container_of(manifests: list[Any], one: Any) -> Any:
    (container,) = one(manifests, "Deployment", "-gateway")["spec"]["template"]["spec"]["containers"]
    return container


class Secrets:
    """The Secrets that the values name, as files: what the cluster would mount."""

    def __init__(self, folder: Path, authority: trustme.CA, database: str) -> None:
        issued = authority.issue_cert(HOST, "127.0.0.1")
        pair = {"tls.crt": issued.cert_chain_pems[0].bytes(), "tls.key": issued.private_key_pem.bytes()}
        hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        web = f"tls_server_config: {{cert_file: tls.crt, key_file: tls.key}}\nbasic_auth_users: {{scraper: {hashed}}}\n"
        self._contents: Mapping[str, Mapping[str, bytes]] = {
            "database": {"url": database.encode(), "dsn": database.encode()},
            "database-tls": {},
            "certificate": {**pair, "ca.crt": authority.cert_pem.bytes()},
            "tokens": {"agents": AGENT.encode(), "board": BOARD.encode(), "operators": OPERATOR.encode()},
            "clients": {"ca.crt": authority.cert_pem.bytes(), "authority.pem": authority.cert_pem.bytes()},
            "web": {"web.yml": web.encode(), **pair},
        }
        self.folder = folder
        for name, files in self._contents.items():
            (folder / name).mkdir()
            for key, content in files.items():
                (folder / name / key).write_bytes(content)

    def read(self, reference: Mapping[str, str]) -> str:
        """What a secretKeyRef leads to."""
        return self._contents[reference["name"]][reference["key"]].decode()


def environment_of(manifests: list[Any], one: Any, secrets: Secrets, pod: str) -> dict[str, str]:
    """The variables that the container gets in a pod of that name; what is mounted is where the Secrets are."""
    spec = one(manifests, "Deployment", "-gateway")["spec"]["template"]["spec"]
    sources = {volume["name"]: volume for volume in spec.get("volumes", ())}
    variables = {}
    for variable in container_of(manifests, one)["env"]:
        match variable:
            case {"value": value}:
                variables[variable["name"]] = value
            case {"valueFrom": {"secretKeyRef": reference}}:
                variables[variable["name"]] = secrets.read(reference)
            case {"valueFrom": {"fieldRef": {"fieldPath": path}}}:
                variables[variable["name"]] = pod if path == "metadata.name" else path
    for mount in container_of(manifests, one).get("volumeMounts", ()):
        source = sources[mount["name"]]
        if "secret" in source:
            place = secrets.folder / source["secret"]["secretName"]
        else:
            place = secrets.folder / "config-map"
            place.mkdir(exist_ok=True)
            for name, text in one(manifests, "ConfigMap", source["configMap"]["name"])["data"].items():
                (place / name).write_text(text.replace("/etc/token-budget/tls", str(secrets.folder / "certificate")))
        for name, value in variables.items():
            variables[name] = value.replace(mount["mountPath"] + "/", f"{place}/")
    return variables
