"""Random operations for a server and for the reference client's local mode."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from qdrant_client import QdrantClient, models

from tests.helpers.random_filters import DATETIMES, RandomFilters, random_key, random_payload

Call = Callable[[QdrantClient], Any]

_COLLECTIONS = ["alpha", "beta", "gamma"]
_ALIASES = ["first", "second"]
_UUIDS = [str(UUID(int=Random(i).getrandbits(128), version=4)) for i in range(25)]
IDS: list[int | str] = [*range(45), 2**63 + 5, 2**64 - 1, *_UUIDS]
_NOBODY = 10**6
_MAX_SIM = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
_ORDER_KEYS = ["n", "n", "when", "tags", "a", "c.a"]


@dataclass(frozen=True)
class Step:
    """One operation.

    Args:
        name: what it is and on what, for messages.
        call: does it on a client.
        check: how its answers compare: `equal`, `hits`, `batch`, `page`, `ordered` or `ignore`.
        limit: hits asked for, where answers are cut.
    """

    name: str
    call: Call
    check: str = "equal"
    limit: int = 0


class Steps:
    """Draws steps that suit what a reference client holds.

    Args:
        reference: asked for existing points, vectors and aliases; never changed.
    """

    def __init__(self, rng: Random, reference: QdrantClient) -> None:
        self._rng = rng
        self._reference = reference
        self._schemas: dict[str, dict[str, models.VectorParams]] = {}

    # ---- choosing ---------------------------------------------------------------------------------------

    def next(self) -> Step:
        """A step; collections are made before anything else."""
        rng = self._rng
        if not self._schemas or (len(self._schemas) < len(_COLLECTIONS) and rng.random() < 0.02):
            return self._create()
        name = rng.choice(sorted(self._schemas))
        target = self._alias_of(name) if rng.random() < 0.15 else name
        draw = rng.choices(
            [
                (self._upsert, 14), (self._delete, 4), (self._update_vectors, 3), (self._delete_vectors, 2),
                (self._set_payload, 6), (self._overwrite_payload, 3), (self._delete_payload, 3),
                (self._clear_payload, 2), (self._batch, 4), (self._scroll, 8), (self._scroll_ordered, 6),
                (self._count, 6), (self._retrieve, 5), (self._query, 16), (self._query_batch, 4),
                (self._aliases, 1.5), (self._payload_index, 1), (self._wrong, 3), (self._drop, 0.25),
            ],
            [14, 4, 3, 2, 6, 3, 3, 2, 4, 8, 6, 6, 5, 16, 4, 1.5, 1, 3, 0.25],
        )[0][0]  # fmt: skip
        return draw(name, target)

    def check_all(self) -> list[Step]:
        """Steps that compare all there is."""
        steps = [
            Step(
                "get_collections", lambda client: sorted(c.name for c in client.get_collections().collections)
            ),
            Step("get_aliases", _all_aliases),
        ]
        everything = {"limit": 1000, "with_payload": True, "with_vectors": True}
        for name in sorted(self._schemas):
            label = f"scroll everything in {name}"
            steps.append(Step(label, lambda client, name=name: client.scroll(name, **everything), "page"))
            steps.append(Step(f"count {name}", lambda client, name=name: client.count(name).count))
        return steps

    def _existing(self, name: str) -> list[int | str]:
        records, _ = self._reference.scroll(name, limit=1000, with_payload=False)
        return [record.id for record in records]

    def _alias_of(self, name: str) -> str:
        aliases = self._reference.get_collection_aliases(name).aliases
        return self._rng.choice(aliases).alias_name if aliases else name

    def _some_ids(self, name: str) -> list[int | str]:
        existing = self._existing(name)
        return self._rng.sample(existing, min(len(existing), self._rng.randint(1, 5)))

    def _filter(self, name: str) -> models.Filter:
        """Mostly of one or two conditions on keys that many points have, so that some points match."""
        rng = self._rng
        generator = RandomFilters(rng, IDS, [*self._schemas[name], "other"], _key)
        simple = {
            rng.choice(["must", "must_not", "should"]): [
                generator.condition(0) for _ in range(rng.randint(1, 2))
            ]
        }
        return models.Filter.model_validate(simple if rng.random() < 0.6 else generator.filter())

    def _maybe_filter(self, name: str) -> models.Filter | None:
        return self._filter(name) if self._rng.random() < 0.6 else None

    def _payload(self) -> dict[str, Any]:
        rng = self._rng
        payload = random_payload(rng)
        if rng.random() < 0.7:
            payload["n"] = rng.choice([rng.randrange(20), rng.uniform(-5, 20), 2**53 + rng.randrange(3)])
        if rng.random() < 0.4:
            payload["when"] = rng.choice(DATETIMES)
        if rng.random() < 0.4:
            payload["tags"] = [rng.choice(["red", "green", 1, 2, 3.5, None]) for _ in range(rng.randrange(4))]
        return payload

    def _vector(self, params: models.VectorParams) -> Any:
        """A vector, or a matrix for a multi-vector."""
        rows = [self._row(params) for _ in range(self._rng.randint(1, 5))]
        return rows[0] if params.multivector_config is None else rows

    def _row(self, params: models.VectorParams) -> list[float]:
        kind = self._rng.random()
        if kind < 0.02:
            return [0.0] * params.size
        if kind < 0.1:
            return [float(self._rng.randint(-2, 2)) for _ in range(params.size)]
        return [round(self._rng.gauss(0, 1), 3) for _ in range(params.size)]

    def _vectors(self, name: str, all_names: bool = False) -> Any:
        schema = self._schemas[name]
        if "" in schema:
            return self._vector(schema[""])
        names = (
            sorted(schema)
            if all_names
            else self._rng.sample(sorted(schema), self._rng.randint(0, len(schema)))
        )
        return {one: self._vector(schema[one]) for one in names}

    def _with_payload(self) -> Any:
        keys = [_key(self._rng) for _ in range(self._rng.randrange(3))]
        return self._rng.choice(
            [
                True,
                True,
                False,
                keys,
                models.PayloadSelectorInclude(include=keys),
                models.PayloadSelectorExclude(exclude=keys),
            ]
        )

    def _with_vectors(self, name: str) -> bool | list[str]:
        names = sorted(self._schemas[name])
        some = self._rng.sample(names, self._rng.randint(1, len(names))) if "" not in names else True
        return self._rng.choice([False, True, some])

    # ---- collections ------------------------------------------------------------------------------------

    def _create(self) -> Step:
        rng = self._rng
        name = rng.choice([one for one in _COLLECTIONS if one not in self._schemas])
        names = rng.choice([[""], [""], ["image"], ["image", "text"], ["image", "text", "title"]])
        schema = {
            one: models.VectorParams(
                size=rng.choice([1, 3, 8, 33]),
                distance=rng.choice(list(models.Distance)),
                multivector_config=_MAX_SIM if one == "title" or rng.random() < 0.25 else None,
            )
            for one in names
        }
        self._schemas[name] = schema
        config: Any = schema.get("", schema)
        metadata = None
        if rng.random() < 0.7 and all(one.distance != models.Distance.MANHATTAN for one in schema.values()):
            # The reference keeps it as it is; we build graphs over the tiny segments.
            metadata = {"index": {"kind": "hnsw"}}
        return Step(
            f"create {name} {config} {metadata}",
            lambda client: client.create_collection(name, config, metadata=metadata),
        )

    def _drop(self, name: str, target: str) -> Step:
        del self._schemas[name]
        return Step(f"drop {name}", lambda client: client.delete_collection(name))

    def _aliases(self, name: str, target: str) -> Step:
        rng = self._rng
        alias, other = rng.sample(_ALIASES, 2)
        taken = {one.alias_name for one in self._reference.get_aliases().aliases}
        operations: list[Any] = [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=name, alias_name=alias)
            )
        ]
        if alias in taken and other not in taken and rng.random() < 0.5:
            operations = [
                models.RenameAliasOperation(
                    rename_alias=models.RenameAlias(old_alias_name=alias, new_alias_name=other)
                )
            ]
        elif alias in taken:
            drop = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
            operations = rng.choice([[drop], [drop, *operations]])
        return Step(f"aliases {operations}", lambda client: client.update_collection_aliases(operations))

    def _payload_index(self, name: str, target: str) -> Step:
        key, kind = self._rng.choice(
            [("n", "integer"), ("tags", "keyword"), ("when", "datetime"), ("a", "float")]
        )
        if self._rng.random() < 0.3:
            return Step(
                f"drop index {key}", lambda client: client.delete_payload_index(target, key), "ignore"
            )
        return Step(
            f"index {key}",
            lambda client: client.create_payload_index(target, key, field_schema=kind),
            "ignore",
        )

    # ---- writes -----------------------------------------------------------------------------------------

    def _points(self, name: str) -> list[models.PointStruct]:
        return [
            models.PointStruct(
                id=_spelled(self._rng, point_id),
                vector=self._vectors(name),
                payload=self._payload() if self._rng.random() < 0.9 else None,
            )
            for point_id in self._rng.sample(IDS, self._rng.randint(1, 12))
        ]

    def _upsert(self, name: str, target: str) -> Step:
        rng = self._rng
        if rng.random() < 0.6:
            points = self._points(name)
            return Step(f"upsert {points}", lambda client: client.upsert(target, points), "ignore")
        ids = rng.sample(IDS, rng.randint(1, 20))
        each = [self._vectors(name, all_names=True) for _ in ids]
        vectors: Any = each if "" in self._schemas[name] else {one: [v[one] for v in each] for one in each[0]}
        payloads = [self._payload() for _ in ids] if rng.random() < 0.8 else None
        batch = models.Batch(ids=ids, vectors=vectors, payloads=payloads)
        return Step(f"upsert {batch}", lambda client: client.upsert(target, batch), "ignore")

    def _selector(self, name: str) -> list[int | str] | models.Filter:
        """Existing points by id, or a filter."""
        return self._some_ids(name) or self._filter(name) if self._rng.random() < 0.6 else self._filter(name)

    def _delete(self, name: str, target: str) -> Step:
        rng = self._rng
        chosen: Any = rng.sample(IDS, rng.randint(1, 6)) if rng.random() < 0.8 else self._filter(name)
        return Step(f"delete {chosen}", lambda client: client.delete(target, chosen), "ignore")

    def _vector_updates(self, name: str) -> list[models.PointVectors]:
        return [models.PointVectors(id=one, vector=self._vectors(name)) for one in self._some_ids(name)]

    def _update_vectors(self, name: str, target: str) -> Step:
        updates = self._vector_updates(name)
        if not updates:
            return self._count(name, target)
        return Step(f"vectors {updates}", lambda client: client.update_vectors(target, updates), "ignore")

    def _delete_vectors(self, name: str, target: str) -> Step:
        names = self._rng.sample(sorted(self._schemas[name]), 1)
        chosen = self._selector(name)
        return Step(
            f"drop vectors {names} of {chosen}",
            lambda client: client.delete_vectors(target, vectors=names, points=chosen),
            "ignore",
        )

    def _set_payload(self, name: str, target: str) -> Step:
        chosen, payload = (
            self._selector(name),
            random_payload(self._rng, depth=1) | {"n": self._rng.randrange(9)},
        )
        key = _key(self._rng) if self._rng.random() < 0.4 else None
        return Step(
            f"set {payload} at {key} of {chosen}",
            lambda client: client.set_payload(target, payload=payload, points=chosen, key=key),
            "ignore",
        )

    def _overwrite_payload(self, name: str, target: str) -> Step:
        chosen, payload = self._selector(name), self._payload()
        return Step(
            f"overwrite {payload} of {chosen}",
            lambda client: client.overwrite_payload(target, payload=payload, points=chosen),
            "ignore",
        )

    def _delete_payload(self, name: str, target: str) -> Step:
        chosen, keys = self._selector(name), [_key(self._rng) for _ in range(self._rng.randint(1, 2))]
        return Step(
            f"delete {keys} of {chosen}",
            lambda client: client.delete_payload(target, keys=keys, points=chosen),
            "ignore",
        )

    def _clear_payload(self, name: str, target: str) -> Step:
        chosen = self._selector(name)
        return Step(f"clear {chosen}", lambda client: client.clear_payload(target, chosen), "ignore")

    def _batch(self, name: str, target: str) -> Step:
        """Several operations in one; those on points by id come first, while the points are there."""
        rng = self._rng
        existing = self._some_ids(name)
        operations: list[Any] = []
        if existing:
            payload = random_payload(rng, depth=1)
            keys = [_key(rng)]
            operations = [
                models.SetPayloadOperation(set_payload=models.SetPayload(payload=payload, points=existing)),
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(payload=payload, points=existing)
                ),
                models.DeletePayloadOperation(
                    delete_payload=models.DeletePayload(keys=keys, points=existing)
                ),
                models.ClearPayloadOperation(clear_payload=models.PointIdsList(points=existing[:1])),
                models.UpdateVectorsOperation(
                    update_vectors=models.UpdateVectors(points=self._vector_updates(name))
                ),
            ]
        operations += [
            models.UpsertOperation(upsert=models.PointsList(points=self._points(name))),
            models.SetPayloadOperation(
                set_payload=models.SetPayload(payload={"n": rng.randrange(5)}, filter=self._filter(name))
            ),
            models.DeleteOperation(delete=models.PointIdsList(points=rng.sample(IDS, 2))),
            models.DeleteOperation(delete=models.FilterSelector(filter=self._filter(name))),
        ]
        kept = sorted(rng.sample(range(len(operations)), rng.randint(1, min(4, len(operations)))))
        chosen = [operations[i] for i in kept]
        return Step(f"batch {chosen}", lambda client: client.batch_update_points(target, chosen), "ignore")

    def _wrong(self, name: str, target: str) -> Step:
        """Operations that both refuse, without a trace."""
        rng = self._rng
        schema = self._schemas[name]
        points = self._points(name)
        first = next(iter(schema.values()))
        wrong_row = [1.0] * (first.size + 1)
        wrong_size: Any = wrong_row if first.multivector_config is None else [wrong_row]
        points[-1].vector = wrong_size if "" in schema else {next(iter(schema)): wrong_size}
        calls: list[tuple[str, Call]] = [
            ("upsert of a wrong size", lambda client: client.upsert(target, points)),
            (
                "payload of a missing point",
                lambda client: client.set_payload(target, {"a": 1}, points=[_NOBODY]),
            ),
            (
                "query by a missing point",
                lambda client: client.query_points(target, _NOBODY, using=next(iter(schema))),
            ),
            ("unknown vector name", lambda client: client.query_points(target, [1.0], using="nobody")),
            ("unknown collection", lambda client: client.count("nowhere")),
            (
                "collection that exists",
                lambda client: client.create_collection(name, next(iter(schema.values()))),
            ),
            ("no limit", lambda client: client.scroll(target, limit=0)),
        ]
        if next(iter(schema.values())).size > 1:  # local mode broadcasts one dimension to any number
            calls.append(
                (
                    "query of a wrong size",
                    lambda client: client.query_points(target, wrong_size, using=next(iter(schema))),
                )
            )
        label, call = rng.choice(calls)
        return Step(f"wrong: {label}", call)

    # ---- reads ------------------------------------------------------------------------------------------

    def _scroll(self, name: str, target: str) -> Step:
        rng = self._rng
        arguments = {
            "scroll_filter": self._maybe_filter(name),
            "limit": rng.randint(1, 30),
            "offset": rng.choice([None, None, rng.choice(IDS)]),
            "with_payload": self._with_payload(),
            "with_vectors": self._with_vectors(name),
        }
        return Step(f"scroll {arguments}", lambda client: client.scroll(target, **arguments), "page")

    def _scroll_ordered(self, name: str, target: str) -> Step:
        rng = self._rng
        start = rng.choice([None, None, rng.randrange(10), rng.uniform(0, 10), "2024-06-15T12:00:00"])
        arguments = {
            "order_by": models.OrderBy(
                key=rng.choice(_ORDER_KEYS), direction=rng.choice([None, *models.Direction]), start_from=start
            ),
            "scroll_filter": self._maybe_filter(name),
            "limit": rng.randint(1, 60),
            "with_payload": self._with_payload(),
        }
        return Step(
            f"scroll {arguments}",
            lambda client: client.scroll(target, **arguments),
            "ordered",
            arguments["limit"],
        )

    def _count(self, name: str, target: str) -> Step:
        filter = self._maybe_filter(name)
        return Step(
            f"count {filter}", lambda client: client.count(target, count_filter=filter, exact=True).count
        )

    def _retrieve(self, name: str, target: str) -> Step:
        ids = [_spelled(self._rng, one) for one in self._rng.sample(IDS, self._rng.randint(1, 8))]
        arguments = {"with_payload": self._with_payload(), "with_vectors": self._with_vectors(name)}
        return Step(
            f"retrieve {ids} {arguments}",
            lambda client: (client.retrieve(target, ids, **arguments), None),
            "page",
        )

    def _question(self, name: str) -> dict[str, Any]:
        """Arguments of a nearest-neighbour query."""
        rng = self._rng
        schema = self._schemas[name]
        using = rng.choice(sorted(schema))
        with_vector = models.Filter(must=[models.HasVectorCondition(has_vector=using)])
        known, _ = self._reference.scroll(name, scroll_filter=with_vector, limit=1000)
        by_id = rng.choice(known).id if known and rng.random() < 0.25 else None
        return {
            "query": self._vector(schema[using]) if by_id is None else by_id,
            "using": using or rng.choice([None, ""]),
            "filter": self._maybe_filter(name),
            "limit": rng.randint(1, 30),
            "offset": rng.choice([None, 0, rng.randint(1, 10)]),
            "score_threshold": rng.choice([None, None, None, rng.uniform(-1, 3)]),
            "params": rng.choice([None, models.SearchParams(exact=True), models.SearchParams(hnsw_ef=128)]),
            "with_payload": self._with_payload(),
            "with_vector": self._with_vectors(name),
        }

    def _query(self, name: str, target: str) -> Step:
        question = self._question(name)
        arguments = {
            {"filter": "query_filter", "params": "search_params", "with_vector": "with_vectors"}.get(
                key, key
            ): value
            for key, value in question.items()
        }
        return Step(
            f"query {question}",
            lambda client: client.query_points(target, **arguments).points,
            "hits",
            question["limit"],
        )

    def _query_batch(self, name: str, target: str) -> Step:
        questions = [self._question(name) for _ in range(self._rng.randint(1, 5))]
        filter = self._maybe_filter(name)
        if self._rng.random() < 0.5:
            questions = [
                question | {"filter": filter, "using": questions[0]["using"]} for question in questions
            ]
            using = questions[0]["using"] or ""
            questions = [
                question | {"query": self._vector(self._schemas[name][using])} for question in questions
            ]
        requests = [models.QueryRequest(**question) for question in questions]
        return Step(
            f"query batch {requests}",
            lambda client: [answer.points for answer in client.query_batch_points(target, requests)],
            "batch",
        )


def _key(rng: Random) -> str:
    return rng.choice(["n", "when", "tags", "tags[]", "a", "b"]) if rng.random() < 0.7 else random_key(rng)


def _spelled(rng: Random, point_id: int | str) -> int | str:
    """The same id in one of its spellings."""
    if isinstance(point_id, int):
        return point_id
    return rng.choice([point_id, point_id.upper(), point_id.replace("-", "")])


def _all_aliases(client: QdrantClient) -> list[tuple[str, str]]:
    return sorted((one.alias_name, one.collection_name) for one in client.get_aliases().aliases)
