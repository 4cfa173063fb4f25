"""Tiers of tests: pure ones, those on a development chain, those on whole deployments or of some
seconds (system), and long ones.

`make test-fast` runs the first two, `make test` the first three, `make test-long` the last. A
test's tier follows from the fixtures that it asks for and from the lists below; nobody marks one by
hand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

# Fixtures that start several services, a browser or a bucket, compute on all of the research data,
# or compile contracts without a control.
SYSTEM = {
    "browser",
    "bucket_process",
    "compiled",
    "deployment",
    "founders",
    "gse_result",
    "postgres",
    "rig",
    "served",
}
CHAIN = {"chain", "clocked", "devchain", "gateway", "guarded", "kept", "shared"}
# Files that start services, confined processes or long computations by themselves.
SYSTEM_FILES = {
    "tests/analytics/test_known_truth.py",
    "tests/analytics/test_noise.py",
    "tests/analytics/test_prediction.py",
    "tests/analytics/test_registry.py",
    "tests/api/cli/test_init.py",
    "tests/api/test_hostile_inputs.py",
    "tests/api/test_parser_sandbox.py",
    "tests/api/test_starting.py",
    "tests/test_bench.py",
    "tests/test_canaries.py",
    "tests/test_confinement.py",
    "tests/test_joining.py",
    "tests/test_kills.py",
    "tests/test_operating.py",
    "tests/test_plain_ledger.py",
    "tests/test_report.py",
    "tests/test_scenes.py",
    "tests/test_story.py",
    "tests/test_wheel.py",
    # Whole tables of attacks, forged trails and trained models, each of seven seconds or more. Without
    # them `make test-fast` is over in two and a half minutes, which is what it is for.
    "tests/analytics/test_association.py",
    "tests/analytics/test_cluster_run.py",
    "tests/analytics/test_run.py",
    "tests/analytics/test_science.py",
    "tests/analytics/test_series.py",
    "tests/chain/test_bounded_http.py",
    "tests/chain/test_devchain.py",
    "tests/chain/test_node.py",
    "tests/chain/test_snapshots.py",
    "tests/contracts/test_attacks.py",
    "tests/governance/test_broker_https.py",
    "tests/governance/test_forged_trails.py",
    "tests/governance/test_vault.py",
    "tests/governance/test_verify.py",
    "tests/governance/test_verify_receipts.py",
    "tests/governance/test_verify_steps.py",
    "tests/test_rules_twice.py",
    "tests/test_worker.py",
}

# What another test covers less dearly, and what is not about one behaviour: controls that are taken
# out (of contracts, of the verifier, of the imports, of confinement), attacks that are simulated on
# many cohorts, floods, kills and withdrawals at any moment, measurements, the demo, its report
# and its further scenes, results of older versions, a long history, every page in every look and on
# PostgreSQL, every output of every analysis, whole deployments from the compose file, what
# `make check` says of a fault. All that is marked `alone` too.
LONG = (
    "tests/analytics/test_assays.py::test_every_kind_of_data_in_one_run",
    "tests/analytics/test_assays.py::test_fused_assays_tell_no_less_than_the_best_of_them",
    "tests/analytics/test_clusters.py::test_groups_that_are_there_are_recovered",
    "tests/analytics/test_clusters.py::test_without_groups_clusters_are_chance",
    "tests/analytics/test_disclosure.py::test_rows_and_curves_of_the_real_run_are_printed_in_their_steps",
    "tests/analytics/test_disclosure.py::test_the_record_says_that_there_is_noise_and_lists_what_was_coarsened",
    "tests/analytics/test_disclosure_gates.py::test_a_run_with_few_of_an_outcome_is_computed_to_its_end",
    "tests/analytics/test_disclosure_gates.py::test_who_is_the_tenth_is_not_told_by_what_is_printed",
    "tests/analytics/test_disclosure_noise.py::test_an_attacker_who_knows_everybody_else_learns_little",
    "tests/analytics/test_disclosure_noise.py::test_the_brier_score_needs_more_noise_than_a_rank",
    "tests/analytics/test_evaluate.py::test_a_planted_effect_is_found_despite_the_noise",
    "tests/analytics/test_evaluate.py::test_p_is_uniform_enough_without_signal",
    "tests/analytics/test_evaluate.py::test_p_of_the_printed_auc_is_not_too_small_without_a_signal",
    "tests/analytics/test_evaluate.py::test_the_bootstrap_counts_what_another_training_would_change",
    "tests/analytics/test_imputation.py::test_imputers_find_nothing_in_noise_and_more_than_a_mean_where_there_is_something",
    "tests/analytics/test_imputation.py::test_intervals_of_a_run_count_that_imputations_differ",
    "tests/analytics/test_known_truth.py::test_prediction_from_files",
    "tests/analytics/test_networks.py::test_torch_is_imported_only_when_a_network_is_built",
    "tests/analytics/test_noise.py",
    "tests/analytics/test_registry.py::test_one_file_adds_a_model_an_explanation_or_a_clustering",
    "tests/analytics/test_science.py::test_clusters_are_reported_with_and_without_groups",
    "tests/analytics/test_science.py::test_p_of_a_scan_is_right_without_an_association",
    "tests/analytics/test_series.py::test_a_run_prints_series_beside_the_others",
    "tests/analytics/test_tuning.py::test_a_run_tunes_each_row_and_says_how_far_it_is",
    "tests/analytics/test_tuning.py::test_noise_stays_noise_while_settings_chosen_on_the_tested_people_do_not",
    "tests/analytics/test_variants.py::test_hardy_weinberg_is_quick",
    "tests/api/cli/test_commands.py::test_rebuild_compares_and_names_an_edited_row",
    "tests/api/cli/test_ingest_files.py::test_a_sample_under_a_name_of_the_other_sex_is_named",
    "tests/api/cli/test_ingest_files.py::test_every_sample_is_a_person_and_every_person_a_sample",
    "tests/api/cli/test_ingest_files.py::test_many_genomes",
    "tests/api/cli/test_rehearse.py::test_a_network_over_series_is_rehearsed",
    "tests/api/test_endpoints.py::test_an_ingest_takes_fourteen_records_of_a_thousand_people",
    "tests/api/test_floods.py",
    "tests/api/test_hostile_inputs.py",
    "tests/api/test_schema.py::test_every_answer_is_declared_and_none_is_a_failure",
    "tests/chain/test_accounts.py::test_deep_json_ends_no_process",
    "tests/chain/test_accounts.py::test_no_process_computes_the_pairings_of_bls",
    "tests/chain/test_bounded_http.py::test_large_bodies_wait_for_each_other_and_small_messages_do_not",
    "tests/chain/test_devchain.py::test_old_states_are_not_left_on_the_disk",
    "tests/chain/test_executions.py::test_a_withdrawal_is_done_during_a_flood_of_questions_and_right_after",
    "tests/chain/test_snapshots.py::test_a_snapshot_that_broke_or_lies_is_not_used",
    "tests/chain/test_snapshots.py::test_killed_in_the_middle_many_times",
    "tests/contracts/test_gas.py",
    "tests/contracts/test_removals.py",
    "tests/contracts/test_replay.py::test_every_signature_replayed_on_a_second_deployment",
    "tests/governance/test_cloud_bucket.py::test_the_doctor_says_the_same",
    "tests/governance/test_forged_trails.py::test_whatever_was_signed_is_in_the_head",
    "tests/governance/test_verify_rules.py::test_every_rule_taken_out_lets_a_lie_through",
    "tests/governance/test_verify_steps.py::test_the_rules_read_every_item_that_the_contract_reads",
    "tests/pages/test_output_checks.py::test_a_secret_anywhere_in_an_output_is_named",
    "tests/pages/test_output_checks.py::test_what_an_analysis_writes_passes",
    "tests/pages/test_plots.py::test_a_result_from_before_its_keys_were_renamed_is_shown_alike",
    "tests/pages/test_plots.py::test_a_result_s_page_names_nothing_as_the_program_does",
    "tests/pages/test_plots.py::test_clusters_are_frames_in_a_notebook",
    "tests/pages/test_plots.py::test_each_plot_has_a_sentence_and_a_table_of_the_same",
    "tests/pages/test_plots.py::test_many_curves_are_drawn_apart_with_their_names_in_full",
    "tests/pages/test_plots.py::test_no_text_of_a_plot_is_cut",
    "tests/pages/test_protections.py::test_an_opened_plan_is_for_every_screen_and_reader",
    "tests/pages/test_protections.py::test_axe_finds_nothing_and_a_narrow_screen_cuts_nothing_off",
    "tests/pages/test_protections.py::test_the_demos_report_is_for_every_screen_and_reader",
    "tests/pages/test_protections.py::test_the_page_of_the_api_shows_every_route_and_asks_no_other_host",
    "tests/pages/test_run_form.py::test_a_form_with_a_problem_has_no_barrier",
    "tests/pages/test_shared_work.py::test_a_weak_plan_is_seen_and_rejected",
    "tests/pages/test_shared_work.py::test_the_analyst_rehearses_on_made_up_people_without_script",
    "tests/pages/test_shared_work.py::test_the_form_offers_the_variables_that_the_dataset_has",
    "tests/pages/test_tripod.py::test_all_items_are_there_and_the_authors_are_left_what_nobody_recorded",
    "tests/test_architecture.py::test_each_import_contract_can_fail",
    "tests/test_bench.py",
    "tests/test_child_messages.py::test_a_hostile_child_says_nothing_of_anybody",
    "tests/test_child_messages.py::test_a_run_says_its_steps_in_this_order",
    "tests/test_confinement.py::test_a_layer_taken_out_lets_through_what_only_it_refuses",
    "tests/test_confinement.py::test_every_model_gives_the_same_bytes_within",
    "tests/test_confinement.py::test_models_and_parsers_work_within_each_wall",
    "tests/test_confinement.py::test_without_confinement_every_way_is_open",
    "tests/test_containers.py::test_its_commands_make_a_healthy_deployment",
    "tests/test_databases.py::test_a_whole_run_leaves_the_rows_that_sqlite_has",
    "tests/test_differencing.py",
    "tests/test_joining.py::test_an_analyst_joins_by_address_and_signs_in",
    "tests/test_kills.py",
    "tests/test_licences.py::test_a_licence_that_may_not_come_in_is_named",
    "tests/test_licences.py::test_make_check_fails_on_such_a_licence",
    "tests/test_long_history.py",
    "tests/test_operating.py::test_a_second_api_that_cannot_listen_takes_nothing_from_the_first",
    "tests/test_operating.py::test_stopping_in_a_run_leaves_no_process_and_the_run_resumes",
    "tests/test_plain_ledger.py::test_init_deploys_on_it_and_every_part_runs",
    "tests/test_questions.py::test_a_permit_has_so_many_questions_and_no_more",
    "tests/test_ray.py::test_each_run_is_computed_once_by_one_of_rays_workers",
    "tests/test_ray.py::test_whatever_is_killed_no_run_is_lost_and_no_key_leaves_unrecorded",
    "tests/test_recovery.py::test_a_copied_package_counts_by_its_bytes",
    "tests/test_recovery.py::test_a_full_disk_ends_no_run",
    "tests/test_report.py",
    "tests/test_repository.py::test_a_stale_document_is_named",
    "tests/test_repository.py::test_only_what_a_release_may_reword_is_let_pass",
    "tests/test_rules_twice.py::test_every_call_reason_and_refusal_occurs",
    "tests/test_rules_twice.py::test_fold_and_contracts_agree",
    "tests/test_scenes.py::test_a_failing_scene_reports_it",
    "tests/test_scenes.py::test_each_holds_and_says_so",
    "tests/test_several_workers.py::test_a_worker_that_is_killed_costs_attempts_and_no_run",
    "tests/test_several_workers.py::test_each_run_is_computed_once_and_both_take_some",
    "tests/test_several_workers.py::test_every_page_is_there_also_on_postgresql",
    "tests/test_story.py",
    "tests/test_wheel.py",
    "tests/test_withdrawal.py::test_a_run_rests_before_the_attempts_that_withdrawals_end_one_after_the_other",
    "tests/test_withdrawal.py::test_a_supervisor_that_does_not_follow_the_ledger_is_seen",
    "tests/test_withdrawal.py::test_a_withdrawal_at_any_moment",
    "tests/test_withdrawal.py::test_allowing_less_stops_a_run_and_allowing_more_does_not",
    "tests/test_worker.py::test_a_run_on_assays_and_gene_sets_is_sealed_once_the_dataset_has_them",
    "tests/test_worker.py::test_libraries_that_take_seconds_are_loaded_for_the_first_child_that_needs_them",
)

# The files that take longest (--durations=0). They are started first.
LONGEST = (
    "tests/test_story.py",
    "tests/pages/test_shared_work.py",
    "tests/test_no_receipt_no_key.py",
    "tests/contracts/test_attacks.py",
    "tests/pages/test_journeys.py",
    "tests/test_worker.py",
    "tests/test_ray.py",
    "tests/test_withdrawal.py",
    "tests/pages/test_plots.py",
    "tests/pages/test_protections.py",
    "tests/test_kills.py",
    "tests/api/cli/test_ingest_files.py",
    "tests/pages/test_wallets.py",
    "tests/test_joining.py",
    "tests/test_long_history.py",
    "tests/governance/test_verify_receipts.py",
    "tests/test_recovery.py",
    "tests/api/test_hostile_inputs.py",
    "tests/test_bench.py",
)


def marked_alone(tests: Path) -> frozenset[str]:
    """The functions marked `alone`, as "tests/file.py::name", by the files' text: whoever
    distributes tests over processes knows their names only.
    """
    return frozenset(
        f"{file.relative_to(tests.parent).as_posix()}::{function.name}"
        for file in tests.rglob("test_*.py")
        if "pytest.mark.alone" in (text := file.read_text())
        for function in ast.parse(text).body
        if isinstance(function, ast.FunctionDef)
        and any(
            ast.unparse(decorator) == "pytest.mark.alone" for decorator in function.decorator_list
        )
    )


def mark(items: Iterable[pytest.Item]) -> None:
    """Give each test the marker of its tier."""
    for item in items:
        item.add_marker(tier_of(item))


def tier_of(item: pytest.Item) -> str:
    """pure, chain, system or long."""
    fixtures = set(getattr(item, "fixturenames", ()))
    name = item.nodeid.partition("[")[0]
    file = name.partition("::")[0]
    if item.get_closest_marker("alone") or name in LONG or file in LONG:
        return "long"
    if fixtures & SYSTEM or file in SYSTEM_FILES or file.startswith("tests/pages/"):
        return "system"
    if item.get_closest_marker("campaign"):
        return "system"
    return "chain" if fixtures & CHAIN or file.startswith("tests/chain/") else "pure"
