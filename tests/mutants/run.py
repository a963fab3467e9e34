"""Broken versions of the code, each of which a named test must catch: `make mutants`.

A mutant replaces one piece of text in one file of a copy of `src/` and runs the one test that
guards the rule. The test must pass on the code as it is and fail on the mutant. A piece of text
that is no longer there is an error: the mutant must follow the code.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken rule.

    Attributes:
        name: The rule that is broken.
        file: Below `src/sightloop`.
        text: What stands there.
        replacement: What stands there in the mutant.
        test: The test that must turn red.
    """

    name: str
    file: str
    text: str
    replacement: str
    test: str


MUTANTS = (
    Mutant(
        name="any token may operate",
        file="serving/access.py",
        text="    if not token.role.covers(needed):\n",
        replacement="    if False:\n",
        test="tests/unit/serving/test_access.py::test_role_covers_those_before_it_and_no_other",
    ),
    Mutant(
        name="door opens again when the last token is revoked",
        file="serving/doorkeeper.py",
        text="self._tokens() is not None\n",
        replacement="bool(self._tokens())\n",
        test="tests/unit/serving/test_doorkeeper.py::"
        "test_door_does_not_open_again_when_the_last_token_is_revoked",
    ),
    Mutant(
        name="address that others reach without a token",
        file="app/listener.py",
        text="    if reachable and not has_tokens:\n",
        replacement="    if False:\n",
        test="tests/unit/app/test_listener.py::"
        "test_address_that_others_reach_demands_a_token_always",
    ),
    Mutant(
        name="changed entry of the audit log",
        file="serving/audit.py",
        text="if chained.previous != previous or chained.hash != expected:\n",
        replacement="if chained.previous != previous:\n",
        test="tests/unit/serving/test_audit.py::test_entry_that_was_changed_is_the_first_fault",
    ),
    Mutant(
        name="bundle from anywhere",
        file="serving/adminplane.py",
        text="            source = self._allowed(Path(bundle))\n",
        replacement="            source = Path(bundle)\n",
        test="tests/attacks/test_bad_requests.py::test_order_for_a_bundle_elsewhere_is_refused",
    ),
    Mutant(
        name="label read apart from the session",
        file="serving/dispatch.py",
        text="                used_s = end.times.total_us / 1e6\n",
        replacement=(
            "                used_s = end.times.total_us / 1e6\n"
            "                import json\n"
            "                champion = self._slot.table.champion\n"
            "                value = json.loads(end.body)\n"
            "                value['release'] = champion.release.as_dict()\n"
            "                end = Reply(end.status, json.dumps(value).encode())\n"
        ),
        test="tests/unit/serving/test_update.py::"
        "test_answer_names_the_release_that_computed_it_across_a_switch",
    ),
    Mutant(
        name="named version answered by whoever serves",
        file="serving/open_inference.py",
        text="            digest=digest,\n        )\n        reply",
        replacement="            digest=None,\n        )\n        reply",
        test="tests/unit/serving/test_open_inference.py::"
        "test_request_that_names_a_version_gets_that_release_or_none",
    ),
    Mutant(
        name="retry on another release",
        file="serving/dispatch.py",
        text="            if same is not None and same.alive:\n                return same\n",
        replacement="            return table.previous\n",
        test="tests/unit/serving/test_dispatch.py::"
        "test_request_of_a_dead_worker_is_asked_again_of_the_same_release",
    ),
    Mutant(
        name="request of a dead worker is lost",
        file="serving/dispatch.py",
        text="        if waiting.kills < _KILLS_MAX:\n",
        replacement="        if False:\n",
        test="tests/attacks/test_orders_and_deaths.py::"
        "test_no_order_and_no_death_loses_a_request_or_shows_an_unproven_release",
    ),
    Mutant(
        name="unbounded queue",
        file="serving/admission.py",
        text="    if ahead >= limits.pending_max:\n",
        replacement="    if False:\n",
        test="tests/unit/serving/test_line.py::test_request_beyond_the_queue_is_refused_at_once",
    ),
    Mutant(
        name="request taken that would be answered too late",
        file="serving/admission.py",
        text="    if ahead and wait_s > left_s:\n",
        replacement="    if False:\n",
        test="tests/unit/serving/test_admission.py::"
        "test_request_that_would_be_answered_too_late_is_refused_at_once",
    ),
    Mutant(
        name="stream moves while its frames are open",
        file="serving/streams.py",
        text="            return table.answering if pin.open_frames == 0 else None\n"
        "        group = ",
        replacement="            return table.answering\n        group = ",
        test="tests/unit/serving/test_dispatch.py::"
        "test_stream_moves_to_the_new_release_only_after_its_open_frames",
    ),
    Mutant(
        name="publish before ready",
        file="serving/update.py",
        text="        self._line.candidate = worker\n",
        replacement=(
            "        self._line.candidate = worker\n"
            "        self._line.switch(promoted(self._line.slot.table, worker)[0])\n"
        ),
        test="tests/unit/serving/test_update.py::"
        "test_readers_reach_a_candidate_only_after_it_is_ready",
    ),
    Mutant(
        name="no drain",
        file="serving/line.py",
        text="        await worker.drained()\n",
        replacement="",
        test="tests/unit/serving/test_update.py::"
        "test_replaced_release_is_stopped_only_after_its_last_lease",
    ),
    Mutant(
        name="embedded: label read apart from the session",
        file="serving/embedded.py",
        text="        return FrameAnswer(held.release, held.classes, detections)\n",
        replacement="        return FrameAnswer(self.release, held.classes, detections)\n",
        test="tests/unit/serving/test_embedded.py::"
        "test_answer_names_the_release_that_computed_it_across_a_switch",
    ),
    Mutant(
        name="embedded: no drain",
        file="serving/embedded_slot.py",
        text="        with self.lock:\n            loaded, self._loaded = self._loaded, None\n",
        replacement="        loaded, self._loaded = self._loaded, None\n",
        test="tests/unit/serving/test_embedded_slot.py::"
        "test_close_waits_for_the_reader_and_happens_once",
    ),
    Mutant(
        name="death on a batch counts against all of it",
        file="serving/workers.py",
        text="        sure = ON_FRAME if len(suspects) == 1 else IN_BATCH\n",
        replacement="        sure = ON_FRAME\n",
        test="tests/unit/serving/test_workers.py::"
        "test_death_on_a_batch_blames_all_that_can_have_been_in_it_and_no_other",
    ),
    Mutant(
        name="suspects of a batch are put together again",
        file="serving/dispatch.py",
        text="waiting.ask.body, ended, alone=waiting.suspect)\n",
        replacement="waiting.ask.body, ended)\n",
        test="tests/unit/serving/test_line.py::"
        "test_frame_that_kills_a_batch_is_found_and_no_other_of_it_is_refused",
    ),
    Mutant(
        name="a session that fell back to the CPU serves",
        file="runtime/compute.py",
        text="    if name not in used:\n",
        replacement="    if not used:\n",
        test="tests/unit/runtime/test_compute.py::"
        "test_session_that_fell_back_to_the_cpu_is_refused",
    ),
    Mutant(
        name="compiling counts as the candidate's time",
        file="serving/order_limits.py",
        text="                limit.reschedule(loop.time() + config.build_timeout_s)\n",
        replacement="                pass\n",
        test="tests/unit/serving/test_order_limits.py::"
        "test_building_does_not_count_as_the_candidates_time",
    ),
    Mutant(
        name="embedded: pool at the loader's priority",
        file="serving/embedded_orders.py",
        text="        if not self._parts.compute.own_threads:\n            lower_priority()\n",
        replacement="        lower_priority()\n",
        test="tests/unit/serving/test_embedded_orders.py::"
        "test_pool_of_a_network_with_several_threads_keeps_normal_priority",
    ),
    Mutant(
        name="embedded: an update overrides a rollback",
        file="serving/embedded_orders.py",
        text="            if table.order != number:\n",
        replacement="            if table.order < number:\n",
        test="tests/unit/serving/test_embedded_orders.py::test_rollback_during_an_update_wins",
    ),
    Mutant(
        name="verification skipped",
        file="distribution/store.py",
        text=(
            "                digest = copy_bundle(bundle_folder, temporary, trust).digest\n"
            "                self._publish(temporary, digest, trust)\n"
            "        return self.get(digest, trust)\n"
        ),
        replacement=(
            "                shutil.copytree(bundle_folder, temporary, dirs_exist_ok=True)\n"
            "                digest = read_bundle(temporary).digest\n"
            "                self._publish(temporary, digest, trust)\n"
            "        return read_bundle(self.path_of(digest))\n"
        ),
        test="tests/attacks/test_signature.py::"
        "test_release_of_a_stranger_is_refused_and_the_way_to_trust_them_named",
    ),
    Mutant(
        name="signature not verified",
        file="release/signing.py",
        text="    if not key.verifies(signature, data):\n",
        replacement="    if not signature:\n",
        test="tests/attacks/test_signature.py::test_stranger_who_names_the_trusted_key_is_refused",
    ),
    Mutant(
        name="bytes not compared with the manifest",
        file="release/folder.py",
        text="    if found != entry.sha256:\n",
        replacement="    if not found:\n",
        test="tests/attacks/test_changed_files.py::test_one_flipped_bit_of_the_weights_is_refused",
    ),
    Mutant(
        name="files that nobody signed",
        file="release/folder.py",
        text="            elif path not in files:\n",
        replacement="            elif not path:\n",
        test="tests/attacks/test_file_set.py::test_unknown_file_is_refused",
    ),
    Mutant(
        name="downgrade accepted",
        file="gates/integrity.py",
        text="    if parse_semver(semver) < parse_semver(highest):\n",
        replacement="    if parse_semver(semver) == parse_semver(highest):\n",
        test="tests/attacks/test_version.py::test_older_release_never_accepted_here_is_a_downgrade",
    ),
    Mutant(
        name="NMS across classes",
        file="vision/postprocess.py",
        text="(classes * extent)[:, None]",
        replacement="(classes * 0.0)[:, None]",
        test="tests/unit/vision/test_postprocess.py::test_overlapping_box_of_other_class_stays",
    ),
    Mutant(
        name="2 px shift",
        file="vision/preprocess.py",
        text="        return np.array([self.left_px, self.top_px] * 2, np.float32)\n",
        replacement="        return np.array([self.left_px + 2, self.top_px] * 2, np.float32)\n",
        test="tests/unit/vision/test_preprocess.py::"
        "test_corner_of_the_frame_lies_on_the_corner_of_its_pixels",
    ),
    Mutant(
        name="2 px shift let through by the gate",
        file="gates/behaviour.py",
        text="max(abs(x), abs(y)) > max_px:\n",
        replacement="max(abs(x), abs(y)) > max_px + 2:\n",
        test="tests/attacks/test_wrong_answers.py::test_picture_moved_by_pixels_is_refused",
    ),
    Mutant(
        name="kept answers of the champion trusted blindly",
        file="gates/replay.py",
        text="            if not _same(self.known.get(visit.key, found), found):\n",
        replacement="            if found is None:\n",
        test="tests/unit/gates/test_replay.py::"
        "test_kept_answer_that_differs_by_one_bit_throws_all_of_them_away",
    ),
    Mutant(
        name="kept answers of another machine or software",
        file="gates/kept_answers.py",
        text='        if content["key"] != dict(key):\n',
        replacement='        if content["key"]["release"] != key["release"]:\n',
        test="tests/unit/gates/test_kept_answers.py::"
        "test_answers_computed_with_anything_else_do_not_count",
    ),
    Mutant(
        name="a candidate's bound on memory outlives its trial",
        file="serving/trial_limits.py",
        text="        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))\n",
        replacement="        del soft\n",
        test="tests/unit/serving/test_trial_limits.py::"
        "test_memory_beyond_the_bound_is_refused_and_ready_lifts_the_bound",
    ),
    Mutant(
        name="cache that ignores the code's digest",
        file="pipeline/cache.py",
        text='        "code": code,\n',
        replacement="",
        test="tests/unit/pipeline/test_step_runner.py::test_changed_code_of_the_step_is_a_miss",
    ),
    Mutant(
        name="step with side effects served from the cache",
        file="pipeline/graph.py",
        text="            cacheable=False,\n",
        replacement="            cacheable=True,\n",
        test="tests/unit/pipeline/test_graph.py::"
        "test_only_the_step_with_side_effects_is_not_cacheable",
    ),
    Mutant(
        name="training: an epoch's chance depends on what ran before",
        file="pipeline/training/attempts.py",
        text="    return (seed * 1_000_003 + epoch + 1) % 2**32\n",
        replacement="    return seed\n",
        test="tests/unit/pipeline/training/test_attempts.py::"
        "test_epochs_and_seeds_have_seeds_of_their_own",
    ),
    Mutant(
        name="training: the batch that fitted is forgotten",
        file="pipeline/training/attempts.py",
        text='    write_json_atomic(kept / _BATCH_NAME, {"batch": batch // 2})\n',
        replacement="",
        test="tests/unit/pipeline/training/test_trainer_process.py::"
        "test_training_without_memory_goes_on_with_half_the_batch",
    ),
    Mutant(
        name="training: the ways out are open",
        file="pipeline/training/child.py",
        text="        refuse_network(tell_refused)\n",
        replacement="",
        test="tests/unit/pipeline/training/test_trainer_process.py::"
        "test_trainer_that_reaches_out_is_refused_and_named",
    ),
    Mutant(
        name="training: what failed attempts kept is lost",
        file="pipeline/step_runner.py",
        text="                kept=kept,\n",
        replacement="                kept=self.workspace.runs / self.run_id / 'kept',\n",
        test="tests/unit/pipeline/test_step_runner.py::"
        "test_what_a_failed_step_kept_is_found_again_and_goes_with_its_success",
    ),
    Mutant(
        name="compact: a box smaller than the grid is answered for by nobody",
        file="pipeline/training/compact_loss.py",
        text="_REACH: Final = 1.0\n",
        replacement="_REACH: Final = 0.0\n",
        test="tests/unit/pipeline/training/test_compact_loss.py::"
        "test_box_smaller_than_the_grid_still_finds_a_place",
    ),
    Mutant(
        name="compact: the boxes are not mirrored with the image",
        file="pipeline/training/compact_samples.py",
        text="boxes = np.stack([width - boxes[:, 2], ",
        replacement="boxes = np.stack([boxes[:, 0], ",
        test="tests/unit/pipeline/training/test_compact_samples.py::"
        "test_mirrored_box_stays_on_its_object",
    ),
    Mutant(
        name="confusion turned: rows are what was found",
        file="vision/confusion.py",
        text="            counts[row, column] += 1",
        replacement="            counts[column, row] += 1",
        test="tests/unit/vision/test_confusion.py::"
        "test_rows_sum_up_to_labels_and_columns_to_detections",
    ),
    Mutant(
        name="a box under another class counts as missed and false",
        file="vision/mistakes.py",
        text="    swapped = [(int(missed[row]), int(extra[column])) for row, column in crossed]",
        replacement="    swapped: list[tuple[int, int]] = []",
        test="tests/unit/vision/test_mistakes.py::"
        "test_each_mistake_has_a_kind_a_cause_a_weight_and_words",
    ),
    Mutant(
        name="lost labels shown are those the candidate gained",
        file="pipeline/comparison.py",
        text="    return frozenset(before.pairs",
        replacement="    before, after = after, before\n    return frozenset(before.pairs",
        test="tests/unit/pipeline/test_parent_quality.py::"
        "test_network_that_is_blind_for_a_class_is_refused_by_its_slice",
    ),
)


def run_test(test: str, source: Path) -> int:
    """Run one test against the package in `source`; pytest's exit code."""
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    # 1 with no test failed is a broken fixture or import: nothing was caught.
    if done.returncode not in (0, 1) or (done.returncode == 1 and " failed" not in done.stdout):
        raise SystemExit(f"{test}: pytest ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.returncode


def copy_of_source(folder: Path, mutant: Mutant | None) -> Path:
    """A copy of `src/`, with the mutant's change."""
    source = folder / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    if mutant is not None:
        path = source / "sightloop" / mutant.file
        text = path.read_text()
        if text.count(mutant.text) != 1:
            raise SystemExit(
                f"mutant {mutant.name}: its text stands {text.count(mutant.text)} times"
            )
        path.write_text(text.replace(mutant.text, mutant.replacement))
    return source


def caught(mutant: Mutant) -> bool:
    """Whether the named test tells the mutant from the code as it is."""
    with tempfile.TemporaryDirectory() as name:
        if run_test(mutant.test, copy_of_source(Path(name), None)) != 0:
            raise SystemExit(f"{mutant.test}: fails on the code as it is")
    with tempfile.TemporaryDirectory() as name:
        return run_test(mutant.test, copy_of_source(Path(name), mutant)) == 1


def main() -> None:
    """Try every mutant; exit 1 if one survives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", default="", help="only mutants whose name holds this")
    wanted = parser.parse_args().name
    survivors = 0
    for mutant in MUTANTS:
        if wanted in mutant.name:
            alive = not caught(mutant)
            survivors += alive
            word = "SURVIVED" if alive else "caught"
            sys.stdout.write(f"{word}  {mutant.name}  ({mutant.test})\n")
            sys.stdout.flush()
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
