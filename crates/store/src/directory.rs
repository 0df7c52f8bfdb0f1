//! The data directory: made, or refused with a sentence that says what to do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The name of the database in the data directory.
pub const DATABASE: &str = "weir.db";

/// Why a directory cannot hold Weir's data.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// Something else has that name, or stands on the way to it.
    #[error("{} is not a directory: move it away, or choose another place with --data", path.display())]
    NotADirectory {
        /// What is in the way.
        path: PathBuf,
    },
    /// The file system takes no writes.
    #[error("{} cannot be written: its file system is read-only; choose another place with --data", path.display())]
    ReadOnly {
        /// The directory, or the one it was to be made in.
        path: PathBuf,
    },
    /// The file system takes writes, but not ours.
    #[error("{} may not be written by this user; give it to the user who runs weir, or choose another place with --data", path.display())]
    Forbidden {
        /// The directory, or the one it was to be made in.
        path: PathBuf,
    },
    /// Others may write to it: anyone who puts a `keys.json` there is an admin.
    #[error(
        "{} may be written by other users (mode {mode:03o}), who could put a key of their own there: \
         chmod go-w {}, or choose another place with --data",
        path.display(), path.display()
    )]
    Shared {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Anything else.
    #[error("{} cannot be made or opened", path.display())]
    Other {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Makes sure that `path` is a directory that this process can write, and no other user. What is missing is made for this user
/// alone (0700); what is there keeps its mode.
pub fn prepare(path: &Path) -> Result<(), DirectoryError> {
    if let Some(blocking_file) = blocking_file(path) {
        return Err(DirectoryError::NotADirectory { path: blocking_file });
    }
    create(path).map_err(|source| explain(path, &nearest_existing(path), source))?;
    writable(path).map_err(|source| explain(path, path, source))?;
    private(path)
}

/// The first thing on the way to `path` that exists and is not a directory.
fn blocking_file(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .find(|ancestor| fs::metadata(ancestor).is_ok_and(|metadata| !metadata.is_dir()))
        .map(Path::to_path_buf)
}

fn nearest_existing(path: &Path) -> PathBuf {
    // Where nothing of a relative path exists, it was to be made in the directory we stand in.
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new(".")).to_path_buf()
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<()> {
    // A user's application data is private to the user there.
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn writable(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};

    access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
}

/// Refuses a directory that other users may write. Its group may where the directory is not ours and the group is: so Kubernetes
/// hands a volume to a process (`fsGroup`), which has no other way to write it.
#[cfg(unix)]
fn private(path: &Path) -> Result<(), DirectoryError> {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::metadata(path).map_err(|source| explain(path, path, source))?;
    let mode = metadata.mode() & 0o7777;
    let is_handed_over = metadata.uid() != rustix::process::geteuid().as_raw()
        && metadata.gid() == rustix::process::getegid().as_raw();
    let foreign = if is_handed_over { 0o002 } else { 0o022 };
    if mode & foreign == 0 {
        Ok(())
    } else {
        Err(DirectoryError::Shared { path: path.to_path_buf(), mode })
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same shape as on Unix")]
fn private(_: &Path) -> Result<(), DirectoryError> {
    // A user's application data is private to the user there.
    Ok(())
}

#[cfg(not(unix))]
fn writable(path: &Path) -> io::Result<()> {
    fs::metadata(path).map(|_| ())
}

/// `blocking_file` is the directory that refused: the one asked for, or the one it was to be made in.
fn explain(path: &Path, blocking_file: &Path, source: io::Error) -> DirectoryError {
    if source.kind() == io::ErrorKind::ReadOnlyFilesystem {
        return DirectoryError::ReadOnly { path: blocking_file.to_path_buf() };
    }
    if source.kind() == io::ErrorKind::PermissionDenied {
        return DirectoryError::Forbidden { path: blocking_file.to_path_buf() };
    }
    DirectoryError::Other { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_for_this_user_alone() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let path = root.path().join("a/b");
        prepare(&path)?;
        prepare(&path)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;

            assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o700);
        }
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_others_may_write_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        use std::os::unix::fs::PermissionsExt;

        let root = tempfile::tempdir()?;
        for (mode, expected) in [
            (0o700, true),
            (0o755, true),
            (0o770, false),
            (0o775, false),
            (0o777, false),
            (0o1777, false),
            (0o702, false),
        ] {
            fs::set_permissions(root.path(), fs::Permissions::from_mode(mode))?;
            let refused = prepare(root.path()).err().map(|error| error.to_string());
            assert_eq!(refused.is_none(), expected, "{mode:o}: {refused:?}");
            assert!(
                refused.is_none_or(|text| text.contains("chmod go-w") && text.contains("--data")),
                "{mode:o}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_file_in_the_way_is_named() -> Result<(), Box<dyn std::error::Error>> {
        let root = tempfile::tempdir()?;
        let file = root.path().join("file");
        fs::write(&file, "")?;
        for path in [file.clone(), file.join("below/it")] {
            let error = prepare(&path).err().map(|error| error.to_string());
            assert_eq!(
                error,
                Some(format!(
                    "{} is not a directory: move it away, or choose another place with --data",
                    file.display()
                ))
            );
        }
        Ok(())
    }

    #[test]
    fn errors_say_what_to_do() {
        let forbidden = explain(
            Path::new("/data/weir"),
            Path::new("/data"),
            io::ErrorKind::PermissionDenied.into(),
        )
        .to_string();
        assert!(forbidden.contains("--data"), "{forbidden}");
        let read_only = explain(
            Path::new("/data/weir"),
            Path::new("/data"),
            io::ErrorKind::ReadOnlyFilesystem.into(),
        )
        .to_string();
        assert!(read_only.contains("read-only"), "{read_only}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn where_nothing_can_be_made_the_place_is_named() {
        let error = prepare(Path::new("/proc/weir"))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.starts_with("/proc"), "{error}");
    }
}
