#!/usr/bin/python3
"""Writes kubernetes.json: what test_deploy holds the manifests against, cut from the strict schemas that the package
kubernetes-validate (PyPI) carries, so that the test needs no network.

    pip download --no-deps kubernetes-validate
    tests/deploy/schema.py kubernetes_validate-*.whl v1.29.0 > tests/deploy/kubernetes.json

Only the kinds below and what they refer to, without the descriptions; one definition a line. Kubernetes and the schemas
are under the Apache License 2.0.
"""
import json
import sys
import zipfile

KINDS = [
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
]


def bare(node):
    """Without what only people and the API server read. Members of "properties" are names, not keywords."""
    if isinstance(node, list):
        return [bare(n) for n in node]
    if not isinstance(node, dict):
        return node
    out = {}
    for key, value in node.items():
        if key == "properties":
            out[key] = {name: bare(n) for name, n in value.items()}
        elif key != "description" and not key.startswith("x-kubernetes"):
            out[key] = bare(value)
    return out


def names_in(node):
    """The definitions that a node refers to."""
    if isinstance(node, list):
        for n in node:
            yield from names_in(n)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rsplit("/", 1)[1]
        for n in node.values():
            yield from names_in(n)


def main(wheel, version):
    path = f"kubernetes_validate/kubernetes-json-schema/{version}-local-strict/_definitions.json"
    everything = json.loads(zipfile.ZipFile(wheel).read(path))["$defs"]
    wanted, kept = list(KINDS), {}
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = bare(everything[name])
            wanted.extend(names_in(kept[name]))
    print('{"$comment": "Kubernetes %s, written by schema.py", "$defs": {' % version)
    print(",\n".join(f"{json.dumps(n)}: {json.dumps(kept[n], separators=(',', ':'), sort_keys=True)}" for n in sorted(kept)))
    print("}}")


if len(sys.argv) != 3:
    sys.exit(__doc__)
main(*sys.argv[1:])
