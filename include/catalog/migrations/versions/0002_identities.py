"""One unique constraint per identity: what finds a row finds one. NULL counts as a value.

Rows that violate one are a person's to repair; then nothing is changed and all of them are reported.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

from include.catalog.violations import require_identities

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Spelled out, not taken from the models: those move on, this revision does not.
IDENTITIES = {
    "deposition_author": ("deposition_id", "name"),
    "deposition_type": ("deposition_id", "type"),
    "dataset_author": ("dataset_id", "name"),
    "dataset_funding": ("dataset_id", "funding_agency_name", "grant_id"),
    "run": ("dataset_id", "name"),
    "frame_acquisition_file": ("run_id", "s3_mdoc_path"),
    "frame": ("run_id", "acquisition_order"),
    "gain_file": ("run_id", "s3_file_path"),
    "tiltseries": ("run_id",),
    "per_section_parameters": ("frame_id", "run_id", "tiltseries_id"),
    "alignment": ("run_id", "deposition_id"),
    "per_section_alignment_parameters": ("alignment_id", "z_index"),
    "identified_object": ("run_id", "object_id"),
    "tomogram_voxel_spacing": ("run_id", "voxel_spacing"),
    "tomogram": (
        "deposition_id",
        "processing",
        "processing_software",
        "reconstruction_method",
        "run_id",
        "tomogram_voxel_spacing_id",
    ),
    "tomogram_author": ("tomogram_id", "name"),
    "annotation": ("run_id", "deposition_id", "annotation_ingest_id"),
    "annotation_shape": ("annotation_id", "shape_type"),
    "annotation_file": ("format", "tomogram_voxel_spacing_id", "annotation_shape_id"),
    "annotation_author": ("annotation_id", "name"),
    "annotation_method_link": ("annotation_id", "link"),
}

# PostgreSQL takes 63 characters.
SHORTENED = {
    "tomogram": "uq_tomogram_deposition_id_processing_processing_softwar_542d",
    "annotation_file": "uq_annotation_file_format_tomogram_voxel_spacing_id_ann_820a",
}


def constraint_name(table: str) -> str:
    return SHORTENED.get(table) or "_".join(("uq", table, *IDENTITIES[table]))


def upgrade() -> None:
    """Check every identity, then constrain them all."""
    # No row may come in between the check and the constraint.
    op.execute(f"LOCK TABLE {', '.join(IDENTITIES)} IN SHARE ROW EXCLUSIVE MODE")
    require_identities(op.get_bind(), IDENTITIES)
    for table, columns in IDENTITIES.items():
        name = constraint_name(table)
        # The portal's own, on identified_object, lets rows without a run through.
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        op.create_unique_constraint(name, table, list(columns), postgresql_nulls_not_distinct=True)


def downgrade() -> None:
    """Leave the portal's one constraint, as it was."""
    for table in IDENTITIES:
        op.drop_constraint(constraint_name(table), table, type_="unique")
    table = "identified_object"
    op.create_unique_constraint(constraint_name(table), table, list(IDENTITIES[table]))
