"""Each scenario and the points that it brings about; all points after a fault are in one of them."""

from tests.faults import of_files, of_runs
from tests.faults.scenario import Scenario, both

SENDING = tuple(
    f"core.objects.store:Store.put_stream:{name}" for name in ("begin_multipart", "upload_part", "complete_multipart")
)

SCENARIOS = [
    Scenario(both("worker.sweeper:tell_too_large"), of_runs.a_job_too_large_for_every_node),
    Scenario(both("worker.sweeper:expire"), of_files.a_file_past_its_time),
    Scenario(("core.objects.store:Store.put_stream:abort_multipart",), of_files.a_source_that_breaks_off_in_the_middle),
    Scenario(("worker.resume:whole_model:write",), of_runs.a_model_that_the_next_attempt_verifies),
    Scenario(both("worker.claim:lost"), of_runs.a_supervisor_that_dies),
    Scenario(of_runs.LAPSED, of_runs.a_supervisor_that_sleeps_past_its_lease),
    Scenario(both("worker.sweeper:end_seats"), of_runs.a_seat_on_a_node_that_is_gone),
    Scenario(both("worker.references:lost"), of_runs.kept_log_probabilities_that_are_lost),
    Scenario(both("worker.resume:damaged"), of_runs.a_resume_point_that_is_damaged),
    Scenario(both("worker.publisher:Publisher._gone"), of_runs.resume_points_that_are_gone),
    Scenario(both("worker.sweeper:admit"), of_files.jobs_whose_files_are_judged_late),
    Scenario((*both("worker.task:lose"), *both("worker.sweeper:Sweeper.take_over_tasks")), of_files.a_task_that_loses),
    Scenario(both("worker.task:renewer.<locals>.alive"), of_files.a_task_that_takes_long),
    Scenario(both("worker.validate_task:validate"), of_files.a_file_deleted_before_it_is_checked),
    Scenario(
        (*SENDING, "worker.orphans:StandingStill.abort:abort_multipart", "worker.orphans:of_attempt:delete"),
        of_runs.large_objects,
    ),
    Scenario(of_files.CLIENTS, of_files.clients_that_leave),
    Scenario(("api.transfer:_begin:abort_multipart",), of_files.a_database_that_goes_as_an_upload_begins),
    Scenario(of_runs.TIME, of_runs.time_that_goes_by),
]
# In make test.
CHEAP = {each.__name__ for each in (of_files.a_file_past_its_time, of_files.a_source_that_breaks_off_in_the_middle)}
