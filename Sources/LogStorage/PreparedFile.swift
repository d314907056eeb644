// Owns the part of the data file that LMDB has not come to yet: it is written with zeros ahead of time.
//
// A commit that makes a file longer has the file system record the new length and the new blocks as well, and waits for
// that. Over blocks that are there already it does not. Measured on ext4 with 64 records of 256 bytes a commit, that is
// about a third of the commit's median.
//
// It must never write where LMDB has a page. It is called on the writer's thread with no write transaction open, and
// writes only behind the last page that the newest commit knows, where neither LMDB nor any reader looks.

import Glibc
import Synchronization

final class PreparedFile: Sendable {
  private let path: String
  private let descriptor: Int32
  private let stepBytes: Int
  private let extent: Mutex<Extent>

  private struct Extent {
    /// Up to here the file has blocks.
    var endBytes: Int
    /// After a disk was found full nothing more is taken ahead of need.
    var isGivenUp = false
  }

  init(path: String, stepBytes: Int) throws(StorageError) {
    let descriptor = open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .fromSystem(errno, operation: "opening", path: path) }
    let end = lseek(descriptor, 0, SEEK_END)
    guard end >= 0 else {
      let code = errno
      Glibc.close(descriptor)
      throw .fromSystem(code, operation: "measuring", path: path)
    }
    self.path = path
    self.descriptor = descriptor
    self.stepBytes = stepBytes
    extent = Mutex(Extent(endBytes: Int(end)))
  }

  deinit {
    Glibc.close(descriptor)
  }

  /// Adds a step when `bytes` more than `usedBytes` would reach the end. A full disk is no error here: the commit may
  /// still fit into what LMDB uses again, and says so itself if not. A failed flush is one, as everywhere.
  func prepare(usedBytes: Int, forBytes bytes: Int) throws(StorageError) {
    let code = extent.withLock { extent -> Int32 in
      guard !extent.isGivenUp, usedBytes + bytes > extent.endBytes else { return 0 }
      let start = max(extent.endBytes, usedBytes)
      guard writeZeros(from: start) else {
        // What was taken is given back, since a full disk needs it more.
        let code = errno
        extent.isGivenUp = true
        guard code == ENOSPC || code == EDQUOT || code == EFBIG else { return code }
        return ftruncate(descriptor, off_t(start)) == 0 ? 0 : errno
      }
      extent.endBytes = start + stepBytes
      return fdatasync(descriptor) == 0 ? 0 : errno
    }
    guard code == 0 else { throw .fromSystem(code, operation: "preparing", path: path) }
  }

  private func writeZeros(from start: Int) -> Bool {
    let zeros = [UInt8](repeating: 0, count: min(stepBytes, 1 << 20))
    var offset = start
    while offset < start + stepBytes {
      let written = pwrite(descriptor, zeros, min(zeros.count, start + stepBytes - offset), off_t(offset))
      if written < 0, errno == EINTR { continue }
      guard written > 0 else { return false }
      offset += written
    }
    return true
  }
}
