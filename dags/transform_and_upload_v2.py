"""One acquisition from lab storage to S3, Code Ocean and DocDB.

Check, gather metadata, transform each modality in parallel, upload with proof, register, record, run
pipelines, clean up. Safe to re-run: a second run over unchanged data writes nothing twice; a killed
task goes on where it was.

**If it is red:** the log of `report_run` lists every failed task with its reason. Errors that a person
has to mend fail at once; the others have been tried again three times. After mending, *Clear → only
failed tasks* goes on from there while the staging folder is kept
(`tasks.remove_staging_folder.job_settings.keep_for_resume`), else start a new run.

**Source folders stay** unless `remove_source_folders` is switched on, and then go only after every
file has been matched with what S3 holds.
"""

from airflow.sdk import Param, chain, dag

from include.acquisitions.trigger_form import FIELDS
from include.defaults import DEFAULT_ARGS
from include.notifiers.job_mail import JobMailNotifier
from include.operators.checks import CheckS3FolderExistsOperator, CheckSourceFoldersExistOperator
from include.operators.metadata import (
    CheckMetadataFilesOperator,
    GatherFinalMetadataOperator,
    GatherPreliminaryMetadataOperator,
)
from include.operators.notifications import SendJobEndEmailOperator, SendJobStartEmailOperator
from include.operators.pipelines import (
    CodeoceanPipelineSettingsOperator,
    RunCodeoceanPipelineOperator,
)
from include.operators.planning import PlanRunOperator
from include.operators.registration import (
    RegisterDataAssetToCodeoceanOperator,
    UpdateDocdbRecordOperator,
)
from include.operators.report import ReportRunOperator
from include.operators.source_removal import RemoveSourceFoldersOperator
from include.operators.staging import (
    CopyDerivativesFolderOperator,
    CreateStagingFolderOperator,
    RemoveStagingFolderOperator,
)
from include.operators.transformation import (
    CompressDataOperator,
    ModalityTransformationSettingsOperator,
)
from include.operators.upload import UploadDataToS3Operator


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=50,  # one submitted request may hold fifty jobs; Airflow's default is 16
    default_args={
        **DEFAULT_ARGS,
        "trigger_rule": "none_failed",  # a skipped task never skips what comes after it
        "on_failure_callback": JobMailNotifier("fail"),
        "on_retry_callback": JobMailNotifier("retry"),
    },
    params={name: Param(**field) for name, field in FIELDS.items()},
    tags=["acquisitions"],
    doc_md=__doc__,
)
def transform_and_upload_v2() -> None:
    plan = PlanRunOperator(task_id="plan_run")

    start_mail = SendJobStartEmailOperator(task_id="send_job_start_email")
    check_target = CheckS3FolderExistsOperator(task_id="check_s3_folder_exists")
    check_sources = CheckSourceFoldersExistOperator(task_id="check_source_folders_exist")
    create_staging = CreateStagingFolderOperator(task_id="create_staging_folder")
    gather = GatherPreliminaryMetadataOperator(task_id="gather_preliminary_metadata")
    derivatives = CopyDerivativesFolderOperator(task_id="copy_derivatives_folder")
    modality_settings = ModalityTransformationSettingsOperator(
        task_id="modality_transformation_settings"
    )
    compress = CompressDataOperator.partial(
        task_id="compress_data", map_index_template="{{ modality }}"
    ).expand_kwargs(modality_settings.output)
    gather_final = GatherFinalMetadataOperator(task_id="gather_final_metadata")
    check_metadata = CheckMetadataFilesOperator(task_id="check_metadata_files")
    upload = UploadDataToS3Operator(task_id="upload_data_to_s3")
    register = RegisterDataAssetToCodeoceanOperator(task_id="register_data_asset_to_codeocean")
    record = UpdateDocdbRecordOperator(task_id="update_docdb_record")
    pipeline_settings = CodeoceanPipelineSettingsOperator(task_id="codeocean_pipeline_settings")
    pipelines = RunCodeoceanPipelineOperator.partial(
        task_id="run_codeocean_pipeline", map_index_template="{{ modality }}"
    ).expand_kwargs(pipeline_settings.output)
    remove_staging = RemoveStagingFolderOperator(task_id="remove_staging_folder")
    remove_sources = RemoveSourceFoldersOperator(task_id="remove_source_folders")
    end_mail = SendJobEndEmailOperator(task_id="send_job_end_email")

    named = [
        start_mail,
        check_target,
        check_sources,
        create_staging,
        gather,
        derivatives,
        modality_settings,
        compress,
        gather_final,
        check_metadata,
        upload,
        register,
        record,
        pipeline_settings,
        pipelines,
        remove_staging,
        remove_sources,
        end_mail,
    ]
    chain(plan, *named)

    # After every task, not only the last: when one fails, the tasks beside it may still be at work in
    # the staging folder, and the report removes that folder.
    report = ReportRunOperator(
        task_id="report_run",
        on_failure_callback=[],  # it fails because a task failed, and that task's owner has been told
    ).as_teardown(on_failure_fail_dagrun=True)
    [plan, *named] >> report


transform_and_upload_v2()
