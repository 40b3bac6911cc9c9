#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What graphql-core says of every document of the corpus, and of what becomes of the good ones when a token is lost, doubled or
misspelt: oracle.py OUT writes it as JSON for oracle_test.c, which compares.

Documents stand in corpus.graphql, separated by lines of dashes; a line `#! {"schema": …, "variables": …, "operationName": …}` in
front says how to ask; INTROSPECTION stands for the usual query for everything. The schema is zoo.graphql unless it says "jobs"."""

import json
import pathlib
import random
import re
import sys

import graphql
from graphql import GraphQLError

HERE = pathlib.Path(__file__).parent
SCHEMAS = {"zoo": HERE / "zoo.graphql", "jobs": HERE.parents[3] / "producers/graphql/schema.graphql"}
MUTANTS = 10  # of each document that is valid
SEED = 20260131
INTROSPECTION = graphql.get_introspection_query(specified_by_url=True, schema_description=True, directive_is_repeatable=True, input_value_deprecation=True)


def is_time(text):
    """As strict as our own, for the texts of the corpus."""
    return isinstance(text, str) and len(text) >= 20 and text[10] == "T" and text.endswith("Z")


def take_time(value):
    if not is_time(value):
        raise GraphQLError("DateTime cannot represent value: " + graphql.pyutils.inspect(value))
    return value


def take_time_literal(node, _variables=None):
    if node.kind != "string_value" or not is_time(node.value):
        raise GraphQLError("DateTime cannot represent value: " + graphql.print_ast(node), node)
    return node.value


def load(path):
    schema = graphql.build_schema(path.read_text())
    time = schema.type_map["DateTime"]
    time.coerce_input_value = time.parse_value = take_time
    time.coerce_input_literal = time.parse_literal = take_time_literal
    return schema


def read_corpus():
    for n, text in enumerate((HERE / "corpus.graphql").read_text().split("\n----\n")):
        head, _, rest = text.partition("\n") if text.startswith("#!") else ("#! {}", "", text)
        if rest.strip() == "INTROSPECTION":
            rest = INTROSPECTION
        yield {"schema": "zoo", "query": rest, "name": f"document {n + 1}", **json.loads(head[2:])}


def mutate(case, rng):
    """Loses, doubles, swaps or misspells tokens."""
    source = graphql.Source(case["query"])
    lexer, spans = graphql.Lexer(source), []
    while (token := lexer.advance()).kind != graphql.TokenKind.EOF:
        spans.append((token.start, token.end))
    for n in range(MUTANTS):
        text, (start, end) = case["query"], rng.choice(spans)
        token = text[start:end]
        other = text[slice(*rng.choice(spans))]
        new = rng.choice(["", token + " " + token, other, token[:-1], token + "x", "null", "$nobody", '"text"', "17", token.upper(),
                          token + " @skip(if: true)", "{ name }", "[1, -2.5e3]", "...", token[::-1]])
        yield {**case, "query": text[:start] + new + text[end:], "name": f"{case['name']}, mutant {n + 1}"}


def without_built_in_words(data):
    """Our own words describe what graphql-core's describe, too."""
    if isinstance(data, list):
        return [without_built_in_words(item) for item in data]
    if not isinstance(data, dict):
        return data
    data = {key: without_built_in_words(value) for key, value in data.items()}
    data.pop("description", None)
    return data


def ask(schema, case, root):
    try:
        document = graphql.parse(case["query"])
    except GraphQLError as error:
        return {"errors": [error.formatted]}
    errors = graphql.validate(schema, document)
    if errors:
        return {"errors": [error.formatted for error in errors]}
    result = graphql.execute_sync(schema, document, root, variable_values=case.get("variables"), operation_name=case.get("operationName"))
    errors = {"errors": [error.formatted for error in result.errors]} if result.errors else {}
    refused = errors and result.data is None and re.match(r"Variable |Unknown operation |Must provide ", result.errors[0].message)
    return errors if refused else {"data": result.data, **errors}


def main(out):
    rng = random.Random(SEED)
    schemas = {name: load(path) for name, path in SCHEMAS.items()}
    root = json.loads((HERE / "roots.json").read_text())
    cases = []
    for case in read_corpus():
        cases.append(case)
        case["want"] = ask(schemas[case["schema"]], case, root)
        if "data" not in case["want"] or len(case["query"]) > 3000:
            continue
        for mutant in mutate(case, rng):
            mutant["want"] = ask(schemas[mutant["schema"]], mutant, root)
            cases.append(mutant)
    for case in cases:
        if "__schema" in case["query"] or "__type" in case["query"]:
            case["want"] = without_built_in_words(case["want"])
    pathlib.Path(out).write_text(json.dumps({
        "version": graphql.version, "root": root, "schemas": {name: str(path) for name, path in SCHEMAS.items()}, "cases": cases}))


if __name__ == "__main__":
    main(sys.argv[1])
