//! The database as the archive of finished logs.

use engine::log::LogError;
use engine::store::StoreError;
use futures_util::future::{BoxFuture, FutureExt};
use protocol::entry::Entry;
use protocol::id::ResponseId;

use super::{Database, chunk, logs};
use crate::archive::Archive;

impl Archive for Database {
    fn put(&self, id: &ResponseId, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), LogError>> {
        let id = id.clone();
        async move {
            let count = entries.len();
            let packed = self.inner.tasks.blocking(move || chunk::pack(&entries)).await.flatten();
            let chunks = packed.ok_or(LogError::Unavailable)?;
            self.write(move |change| logs::put(change, &id, count, &chunks))
                .await
                .map_err(log_error)
        }
        .boxed()
    }

    fn find(&self, id: &ResponseId) -> BoxFuture<'_, Result<Option<u64>, LogError>> {
        let id = id.clone();
        let found = self.read(move |connection| logs::find(connection, &id));
        async move { Ok(found.await.map_err(log_error)?.map(|(_number, entries)| entries)) }.boxed()
    }

    fn read(
        &self,
        id: &ResponseId,
        position: u64,
        budget: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        let id = id.clone();
        let read =
            Database::read(self, move |connection| logs::read(connection, &id, position, budget));
        async move { read.await.map_err(log_error) }.boxed()
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        let id = id.clone();
        async move { self.write(move |change| logs::remove(change, &id)).await.map_err(log_error) }
            .boxed()
    }

    fn bytes(&self) -> u64 {
        self.figures().log_bytes
    }
}

fn log_error(error: StoreError) -> LogError {
    match error {
        StoreError::Missing => LogError::Missing,
        StoreError::Taken | StoreError::TooLarge | StoreError::Unavailable => LogError::Unavailable,
    }
}
