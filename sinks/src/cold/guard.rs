//! The catalog that one commit sees.

use super::{CATALOG, Cold, NAMESPACE, path_of};
use crate::disk;
use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{
    Catalog, Error as IcebergError, ErrorKind, MetadataLocation, Namespace, NamespaceIdent, TableCommit, TableCreation,
    TableIdent,
};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use thermocline_schemas::TableId;

/// A catalog whose one table is the searched head, and whose swap is ours.
#[derive(Debug)]
pub(super) struct Guard<'a> {
    pub(super) cold: &'a Cold,
    pub(super) table: &'a TableId,
    pub(super) head: Table,
    /// Set when the head was found to have moved: nothing was committed.
    pub(super) moved: AtomicBool,
    /// Set just before the swap: from here the commit may exist.
    pub(super) swapping: AtomicBool,
}

impl Guard<'_> {
    fn moved(&self) -> IcebergError {
        self.moved.store(true, Ordering::SeqCst);
        IcebergError::new(ErrorKind::PreconditionFailed, format!("the head of {} moved", self.table))
    }

    /// The metadata file, and the manifest list and manifests that the newest snapshot added.
    async fn new_files(&self, staged: &Table) -> iceberg::Result<Vec<PathBuf>> {
        let mut files = vec![path_of(staged.metadata_location_result()?)];
        if let Some(snapshot) = staged.metadata().current_snapshot() {
            files.push(path_of(snapshot.manifest_list()));
            let list = staged.manifest_list_reader(snapshot).load().await?;
            let added = list.entries().iter().filter(|entry| entry.added_snapshot_id == snapshot.snapshot_id());
            files.extend(added.map(|entry| path_of(&entry.manifest_path)));
        }
        Ok(files)
    }
}

fn unexpected(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> IcebergError {
    IcebergError::new(ErrorKind::Unexpected, what.to_owned()).with_source(source)
}

#[async_trait]
impl Catalog for Guard<'_> {
    async fn load_table(&self, _: &TableIdent) -> iceberg::Result<Table> {
        let now = self.cold.head(self.table).await.map_err(|error| unexpected("reading the catalog", error))?;
        if now.as_deref() == self.head.metadata_location() { Ok(self.head.clone()) } else { Err(self.moved()) }
    }

    async fn update_table(&self, commit: TableCommit) -> iceberg::Result<Table> {
        let before = self.head.metadata_location_result()?;
        let staged = commit.apply(self.head.clone())?;
        let after = staged.metadata_location_result()?;
        let place: MetadataLocation = after.parse()?;
        staged.metadata().write_to(staged.file_io(), &place).await?;
        let files = self.new_files(&staged).await?;
        disk::sync_blocking(self.cold.durability, self.cold.root.clone(), files)
            .await
            .map_err(|error| unexpected("syncing metadata", error))?;
        let pool = self.cold.catalog().await.map_err(|error| unexpected("opening the catalog", error))?;
        let sql = "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? \
                   WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?";
        self.swapping.store(true, Ordering::SeqCst);
        let swapped = sqlx::query(sql)
            .bind(after)
            .bind(before)
            .bind(CATALOG)
            .bind(NAMESPACE)
            .bind(self.table.name.as_path())
            .bind(before)
            .execute(pool)
            .await
            .map_err(|error| unexpected("swapping the metadata location", error))?;
        if swapped.rows_affected() == 1 { Ok(staged) } else { Err(self.moved()) }
    }

    async fn list_namespaces(&self, _: Option<&NamespaceIdent>) -> iceberg::Result<Vec<NamespaceIdent>> {
        Err(not_here())
    }

    async fn create_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> iceberg::Result<Namespace> {
        Err(not_here())
    }

    async fn get_namespace(&self, _: &NamespaceIdent) -> iceberg::Result<Namespace> {
        Err(not_here())
    }

    async fn namespace_exists(&self, _: &NamespaceIdent) -> iceberg::Result<bool> {
        Err(not_here())
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> iceberg::Result<()> {
        Err(not_here())
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> iceberg::Result<()> {
        Err(not_here())
    }

    async fn list_tables(&self, _: &NamespaceIdent) -> iceberg::Result<Vec<TableIdent>> {
        Err(not_here())
    }

    async fn create_table(&self, _: &NamespaceIdent, _: TableCreation) -> iceberg::Result<Table> {
        Err(not_here())
    }

    async fn drop_table(&self, _: &TableIdent) -> iceberg::Result<()> {
        Err(not_here())
    }

    async fn purge_table(&self, _: &TableIdent) -> iceberg::Result<()> {
        Err(not_here())
    }

    async fn table_exists(&self, _: &TableIdent) -> iceberg::Result<bool> {
        Err(not_here())
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> iceberg::Result<()> {
        Err(not_here())
    }

    async fn register_table(&self, _: &TableIdent, _: String) -> iceberg::Result<Table> {
        Err(not_here())
    }
}

fn not_here() -> IcebergError {
    IcebergError::new(ErrorKind::FeatureUnsupported, "a commit only loads and updates its own table")
}
