// Where the result of a long run will be written: made sure of before the run, and never a reason to lose it.

import Foundation
import Glibc

/// A file that is to be written once, at the end. Until then its room is kept by a file beside it.
package final class ResultPlace {
  /// More than a result of any run has been seen to need.
  private static let reservedBytes = 4 << 20

  private let path: String
  private let kept: String
  private let file: Int32

  /// Makes the file beside it, with room for a result.
  /// - Throws: `CommandFailure` with `ExitCode.cannotCreate`, before anything was measured.
  package init(_ path: String) throws(CommandFailure) {
    self.path = path
    kept = path + ".part"
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
      throw CommandFailure(ExitCode.cannotCreate, "\(path) is a directory; name a file in it for the result")
    }
    file = open(kept, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard file >= 0 else { throw Self.refusal(path, errno) }
    // It returns its error, and keeps no room where a file system cannot; the end of the run then decides.
    let code = posix_fallocate(file, 0, off_t(Self.reservedBytes))
    guard code == 0 || code == EOPNOTSUPP || code == EINVAL else {
      close(file)
      unlink(kept)
      throw Self.refusal(path, code)
    }
  }

  private static func refusal(_ path: String, _ code: Int32) -> CommandFailure {
    CommandFailure(
      ExitCode.cannotCreate,
      "the result could not be written to \(path) after the run: \(String(cString: strerror(code))). "
        + "Nothing was measured; name another --result, or make room for \(reservedBytes >> 20) MiB.")
  }

  /// Puts the text where it belongs, whole or not at all.
  /// - Throws: the reason in words.
  package func write(_ text: String) throws(Failure) {
    var bytes = Array(text.utf8)[...]
    guard lseek(file, 0, SEEK_SET) == 0 else { throw failure() }
    while !bytes.isEmpty {
      let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw failure() }
      bytes = bytes.dropFirst(count)
    }
    guard ftruncate(file, off_t(text.utf8.count)) == 0, fsync(file) == 0, rename(kept, path) == 0 else {
      throw failure()
    }
  }

  package struct Failure: Error {
    package let reason: String
  }

  private func failure() -> Failure { Failure(reason: "\(path): \(String(cString: strerror(errno)))") }

  deinit {
    close(file)
    // After a write it is there no more.
    unlink(kept)
  }
}
