//! What the journal asks of a file system, and the directory that does it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::JournalError;
use crate::directory;

/// What the name of a segment ends in.
const EXTENSION: &str = "journal";

/// Holds numbered segments.
pub trait SegmentDisk: Send + Sync + 'static {
    /// Keeps other processes out as long as the result lives.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process is in.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;

    /// The numbers of all segments, in any order.
    ///
    /// # Errors
    /// The system refuses.
    fn list(&self) -> io::Result<Vec<u32>>;

    /// Makes a segment that is not there yet.
    ///
    /// # Errors
    /// The system refuses, or there is one.
    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>>;

    /// Opens a segment.
    ///
    /// # Errors
    /// The system refuses, or there is none.
    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>>;

    /// Removes a segment.
    ///
    /// # Errors
    /// The system refuses, or there is none.
    fn remove(&self, number: u32) -> io::Result<()>;

    /// Bytes that may still be written, where the system says.
    fn room(&self) -> Option<u64> {
        None
    }

    /// Makes what was created and removed last through a loss of power.
    ///
    /// # Errors
    /// The system refuses.
    fn sync(&self) -> io::Result<()>;

    /// Where a segment is, for messages. Without a number: where all are.
    fn path(&self, number: Option<u32>) -> PathBuf;
}

/// One segment. What `write_at` has taken is in the hands of the operating system.
pub trait SegmentFile: Send + Sync {
    /// Writes at `offset`, maybe less than all.
    ///
    /// # Errors
    /// The system refuses.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reads from `offset`, maybe less than all; nothing at the end.
    ///
    /// # Errors
    /// The system refuses.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes what was written last through a loss of power.
    ///
    /// # Errors
    /// The system refuses; then nobody knows what of it lasts.
    fn sync(&self) -> io::Result<()>;

    /// Cuts everything from `length` on.
    ///
    /// # Errors
    /// The system refuses.
    fn cut(&self, length: u64) -> io::Result<()>;

    /// Its bytes.
    ///
    /// # Errors
    /// The system refuses.
    fn length(&self) -> io::Result<u64>;
}

/// Writes all bytes at `offset`.
pub(super) fn write_all(
    segment: &dyn SegmentFile,
    mut bytes: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match segment.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `buffer` from `offset`, as far as there is something. Gives how much there was.
pub(super) fn read_full(
    segment: &dyn SegmentFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match segment.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Segments as files of a directory, which only this user may read.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`, which is made if there is none.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        directory::prepare(path)?;
        Ok(Self { path: path.to_path_buf() })
    }
}

impl SegmentDisk for Directory {
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let file = private().create(true).truncate(false).open(self.path.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            let number: Option<u32> =
                path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            // What has not quite such a name is nothing of ours.
            numbers.extend(number.filter(|number| self.path(Some(*number)) == path));
        }
        Ok(numbers)
    }

    fn create(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(OnDisk(private().read(true).create_new(true).open(self.path(Some(number)))?)))
    }

    fn open(&self, number: u32) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(OnDisk(private().read(true).open(self.path(Some(number)))?)))
    }

    fn remove(&self, number: u32) -> io::Result<()> {
        fs::remove_file(self.path(Some(number)))
    }

    #[cfg(unix)]
    fn room(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.path).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    #[cfg(unix)]
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync(&self) -> io::Result<()> {
        // A directory cannot be opened as a file there; NTFS journals its entries.
        Ok(())
    }

    fn path(&self, number: Option<u32>) -> PathBuf {
        number.map_or_else(
            || self.path.clone(),
            |number| self.path.join(format!("{number:010}.{EXTENSION}")),
        )
    }
}

/// Options for a file that only this user may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        options.mode(0o600);
    }
    options
}

struct OnDisk(File);

impl SegmentFile for OnDisk {
    #[cfg(unix)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(&self.0, bytes, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(&self.0, bytes, offset)
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
