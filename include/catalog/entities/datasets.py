"""A dataset: one sample and everything recorded of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.catalog.entities.sources import (
    DATES,
    ORDERED_AUTHOR,
    folder_https,
    folder_s3,
    https,
    needed,
)
from include.catalog.entity import Entity
from include.catalog.finders import Documents, Entries
from include.catalog.values import walk

if TYPE_CHECKING:
    from include.catalog.finders import Item
    from include.catalog.tree import Tree


def _deposition(item: Item, tree: Tree) -> int | None:
    found = tree.deposition(needed(item.data.get("deposition_id"), "the id of its deposition"))
    tree.dataset_deposition_id = found
    return found


def _publications(item: Item, _: Tree) -> Any:
    return walk(item.data, ("cross_references", "database_publications")) or walk(
        item.data, ("cross_references", "publications")
    )


DATASET = Entity(
    table="dataset",
    flag="datasets",
    find=Documents("dataset_metadata.json"),
    columns={
        "id": "dataset_identifier",
        "deposition_id": _deposition,
        "title": "dataset_title",
        "description": "dataset_description",
        "assay_label": "assay.name",
        "assay_ontology_id": "assay.id",
        "development_stage_name": "development_stage.name",
        "development_stage_ontology_id": "development_stage.id",
        "disease_name": "disease.name",
        "disease_ontology_id": "disease.id",
        "organism_name": "organism.name",
        "organism_taxid": "organism.taxonomy_id",
        "tissue_name": "tissue.name",
        "tissue_id": "tissue.id",
        "cell_name": "cell_type.name",
        "cell_type_id": "cell_type.id",
        "cell_strain_name": "cell_strain.name",
        "cell_strain_id": "cell_strain.id",
        "cell_component_name": "cell_component.name",
        "cell_component_id": "cell_component.id",
        "sample_type": "sample_type",
        "sample_preparation": "sample_preparation",
        "grid_preparation": "grid_preparation",
        "other_setup": "other_setup",
        **DATES,
        "dataset_publications": _publications,
        "related_database_entries": "cross_references.related_database_entries",
        "key_photo_url": https("key_photos.snapshot"),
        "key_photo_thumbnail_url": https("key_photos.thumbnail"),
        "s3_prefix": folder_s3,
        "https_prefix": folder_https,
        "file_size": lambda item, tree: tree.listing.size_of(item.folder),
    },
)

DATASET_AUTHOR = Entity(
    table="dataset_author",
    flag="dataset_authors",
    parent="dataset",
    parent_column="dataset_id",
    find=Entries("authors"),
    columns=ORDERED_AUTHOR,
)

DATASET_FUNDING = Entity(
    table="dataset_funding",
    flag="dataset_funding",
    parent="dataset",
    parent_column="dataset_id",
    find=Entries("funding"),
    columns={"funding_agency_name": "funding_agency_name", "grant_id": "grant_id"},
)
