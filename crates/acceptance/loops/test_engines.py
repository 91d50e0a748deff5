"""Masks made in datasets, Ray Data, Spark and Daft equal those of the program."""

import os
import sys
import threading
import time

import datasets
import goldfish
import pyarrow
import pyarrow.parquet
import pytest
from loops import tiny

FILES, ROWS = 12, 40


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Parquet files of ids, and the program's masks by name."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(FILES):
        rows = tiny.documents(ROWS, seed=number)
        names = [f"{number}-{row}" for row in range(ROWS)]
        kind = pyarrow.list_(pyarrow.int64())
        pyarrow.parquet.write_table(pyarrow.table({"name": names, "input_ids": pyarrow.array(rows, kind)}), folder / f"{number:02}.parquet")
    return folder


@pytest.fixture(scope="module", params=["hash", "random"])
def expected(request, corpus, tmp_path_factory):
    """A rule, and the program's mask of each document."""
    out = tmp_path_factory.mktemp("out") / request.param
    tiny.goldfish("mask", corpus, "--ids-column", "input_ids", "--id-column", "name", "--rule", request.param, "--output", out)
    masks = {document.doc_id: document.loss_mask.tolist() for document in goldfish.open(out)}
    assert len(masks) == FILES * ROWS and 0 in masks["3-3"]
    return goldfish.Masker(rule=request.param), masks


@pytest.fixture(scope="module")
def written(tmp_path_factory, fixtures):
    """Text, its tokenizer, and the program's ids and masks."""
    folder = tmp_path_factory.mktemp("text")
    source, tokenizer = fixtures / "corpus/prose.jsonl", fixtures / "tokenizers/gpt2.json"
    tiny.goldfish("mask", source, "--tokenizer", tokenizer, "--append-eos", "--output", folder / "out")
    documents = [(d.input_ids.tolist(), d.loss_mask.tolist()) for d in goldfish.open(folder / "out")]
    masker = goldfish.Masker(rule="text", tokenizer=tokenizer, append_eos=True)
    return source, masker, documents


def masks_of(rows):
    return {row["name"]: list(row["loss_mask"]) for row in rows}


class TestDatasets:
    def test_columns_without_rows(self, corpus):
        from goldfish.hf import mask_dataset

        rows = datasets.Dataset.from_parquet(str(corpus / "00.parquet")).select([])
        made = mask_dataset(rows, goldfish.Masker(rule="hash"), labels=True)
        assert made.column_names == ["name", "input_ids", "loss_mask", "labels"] and len(made) == 0
        some = mask_dataset(datasets.Dataset.from_parquet(str(corpus / "00.parquet")), goldfish.Masker(rule="hash"), labels=True)
        assert made.features == some.features

    def test_map(self, corpus, expected):
        from goldfish.hf import mask_dataset

        masker, masks = expected
        files = sorted(map(str, corpus.glob("*.parquet")))
        rows = datasets.load_dataset("parquet", data_files=files, split="train")
        for options in ({}, {"num_proc": 2, "batch_size": 7}):
            made = mask_dataset(rows, masker, id_column="name", labels=True, **options)
            assert masks_of(made) == masks
            assert made.features["loss_mask"].feature.dtype == "uint8"
            assert made[3]["labels"][0] == made[3]["input_ids"][0]

    def test_streaming(self, corpus, expected):
        from goldfish.hf import mask_dataset

        masker, masks = expected
        files = sorted(map(str, corpus.glob("*.parquet")))
        rows = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
        assert masks_of(mask_dataset(rows, masker, id_column="name", batch_size=16)) == masks

    def test_text(self, written):
        from goldfish.hf import mask_dataset

        source, masker, documents = written
        rows = datasets.load_dataset("json", data_files=str(source), split="train").select_columns(["text"])
        made = mask_dataset(rows, masker, text_column="text", batch_size=3)
        assert [(row["input_ids"], row["loss_mask"]) for row in made] == documents


@pytest.fixture(scope="module")
def cluster():
    """Three nodes on this machine, each with its own workers."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray
    from ray.cluster_utils import Cluster

    # Workers can't import this file.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    memory = {"object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **memory})
    cluster.workers = [cluster.add_node(num_cpus=2, **memory) for _ in range(2)]
    ray.init(address=cluster.address, logging_level="warning", log_to_driver=False)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class Slow:
    """A slow masker, so that a node can be killed midway; it records its calls."""

    def __init__(self, masker, notes):
        self.masker, self.notes = masker, notes

    def mask(self, batch, **options):
        import tempfile

        with tempfile.NamedTemporaryFile(dir=self.notes, delete=False):
            time.sleep(0.3)
        return self.masker.mask(batch, **options)


class TestRay:
    def test_text(self, cluster, written):
        import ray.data
        from goldfish.ray import mask_dataset

        source, masker, documents = written
        texts = datasets.load_dataset("json", data_files=str(source), split="train")["text"]
        table = pyarrow.table({"n": list(range(len(texts))), "text": list(texts)})
        made = mask_dataset(ray.data.from_arrow(table).repartition(3), masker, text_column="text", batch_size=5)
        rows = sorted(made.take_all(), key=lambda row: row["n"])
        assert [(list(row["input_ids"]), list(row["loss_mask"])) for row in rows] == documents

    def test_a_node_dies(self, cluster, corpus, expected, tmp_path):
        import ray.data
        from goldfish.ray import mask_dataset

        masker, masks = expected
        rows = ray.data.read_parquet(str(corpus), override_num_blocks=FILES)
        made = mask_dataset(rows, Slow(masker, tmp_path), id_column="name", batch_size=ROWS // 4)
        killed = threading.Event()

        def kill():
            while len(list(tmp_path.iterdir())) < FILES:
                time.sleep(0.02)
            cluster.remove_node(cluster.workers.pop(), allow_graceful=False)
            killed.set()

        killer = threading.Thread(target=kill)
        killer.start()
        found = masks_of(made.take_all())
        killer.join()
        assert killed.is_set() and found == masks
        cluster.workers.append(cluster.add_node(num_cpus=2, object_store_memory=100 << 20))


class TestDaft:
    def test_frame(self, corpus, expected):
        import daft

        masker, masks = expected
        made = masker.mask(daft.read_parquet(f"{corpus}/*.parquet"), id_column="name")
        assert isinstance(made, goldfish.ArrowTable)
        frame = daft.from_arrow(pyarrow.table(made))
        assert frame.column_names == ["name", "input_ids", "loss_mask"]
        assert masks_of(frame.to_pylist()) == masks

    def test_function(self, corpus, expected):
        import daft

        masker, masks = expected

        @daft.func.batch(return_dtype=daft.DataType.list(daft.DataType.uint8()))
        def loss_mask(ids: daft.Series, names: daft.Series):
            return pyarrow.array(masker.mask(ids, doc_ids=names.to_pylist()))

        frame = daft.read_parquet(f"{corpus}/*.parquet").into_batches(7)
        made = frame.with_column("loss_mask", loss_mask(daft.col("input_ids"), daft.col("name")))
        assert masks_of(made.to_pylist()) == masks

    def test_text(self, written):
        import daft

        source, masker, documents = written
        made = pyarrow.table(masker.mask(daft.read_json(str(source)).select("text"), text_column="text"))
        assert list(zip(made["input_ids"].to_pylist(), made["loss_mask"].to_pylist(), strict=True)) == documents


@pytest.fixture(scope="module")
def session():
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    # Small batches, since offsets have 32 bits.
    session = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", "7").getOrCreate()
    yield session
    session.stop()


class TestSpark:
    def test_ids(self, session, corpus, expected):
        from goldfish.spark import mask_frame

        masker, masks = expected
        frame = session.read.parquet(str(corpus)).repartition(4)
        made = mask_frame(frame, masker, id_column="name", labels=True)
        rows = [row.asDict() for row in made.collect()]
        assert masks_of(rows) == masks
        labels = [i if keep else -100 for i, keep in zip(rows[0]["input_ids"], rows[0]["loss_mask"], strict=True)]
        assert rows[0]["labels"] == labels

    def test_text(self, session, written):
        from goldfish.spark import mask_frame

        source, masker, documents = written
        made = mask_frame(session.read.json(str(source)).select("text"), masker, text_column="text")
        assert [(row["input_ids"], row["loss_mask"]) for row in made.collect()] == documents
