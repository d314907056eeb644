// `portcullis snapshot save`: the state of a cluster into a file, which is there whole or not at all.
//
// The bytes go to a file beside the target and are checked as they come; only a whole and durable file gets the target's
// name. What is left of a save that was killed is called `.partial`, is no backup to anybody, and is used by the next save.

package import Client
package import CoreNode
import Glibc
import Synchronization

package struct Saving: Sendable {
  package var endpoints: [Endpoint]
  /// How TLS is spoken with `endpoints`.
  package var tls = TLSOptions()
  package var credentials: Credentials?
  package var path: String
  /// Replaces a file that is there.
  package var replaces = false
  /// What the node that is asked has applied, without a leader.
  package var serializable = false

  package init(endpoints: [Endpoint], path: String) {
    self.endpoints = endpoints
    self.path = path
  }

  package struct Saved: Sendable {
    package let header: BackupHeader
    package let bytes: UInt64
  }

  /// - Parameter progress: told of bytes that were written, and about how many there will be.
  package func run(progress: @escaping @Sendable (_ bytes: UInt64, _ of: UInt64) -> Void) async throws -> Saved {
    let signals = Signals()
    if !replaces { try refuseExisting() }
    let file = try PartialFile(for: path)
    do {
      let saved = try await withThrowingTaskGroup(of: Saved?.self) { group in
        group.addTask { try await save(to: file, progress) }
        group.addTask {
          guard let signal = await signals.first() else { return nil }
          throw CommandFailure(128 + signal, "stopped by a signal; nothing was saved")
        }
        defer { group.cancelAll() }
        return try await group.next() ?? nil
      }
      guard let saved else { throw CommandFailure(ExitCode.failed, "the save ended without a file") }
      return saved
    } catch {
      file.remove()
      throw Self.failure(error)
    }
  }

  private func save(
    to file: PartialFile, _ progress: @escaping @Sendable (UInt64, UInt64) -> Void
  ) async throws -> Saved {
    let client = Portcullis(endpoints: endpoints, tls: tls, credentials: credentials)
    defer { client.close() }
    let decoder = Mutex(BackupDecoder())
    try await client.saveState(serializable: serializable) { bytes, estimate in
      // What came over the network is checked before it is called a backup.
      let total = try decoder.withLock { decoder in
        _ = try decoder.take(bytes)
        return decoder.totalBytes
      }
      try file.write(bytes)
      progress(total, estimate)
    }
    let (header, bytes) = try decoder.withLock { decoder in
      try decoder.finish()
      return (decoder.header, decoder.totalBytes)
    }
    guard let header else { throw BackupError.cutShort(bytes: bytes) }
    try file.publish(replacing: replaces)
    return Saved(header: header, bytes: bytes)
  }

  private func refuseExisting() throws(CommandFailure) {
    guard access(path, F_OK) != 0 else {
      throw CommandFailure(ExitCode.failed, "\(path) is there already: name another file, or replace it with --force")
    }
  }

  private static func failure(_ error: any Error) -> any Error {
    switch error {
    case let error as ClientError:
      CommandFailure(error.code == .unavailable ? ExitCode.unavailable : ExitCode.failed, error.description)
    case let error as BackupError:
      CommandFailure(ExitCode.failed, "nothing was saved: what the node sent is no whole backup: \(error)")
    default: error
    }
  }
}

/// The file beside the target. Any thread, one at a time.
private final class PartialFile: Sendable {
  private let target: String
  private let path: String
  private let descriptor: Int32

  init(for target: String) throws(CommandFailure) {
    self.target = target
    path = target + ".partial"
    descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw Self.failure("making", path) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      Glibc.close(descriptor)
      throw CommandFailure(ExitCode.failed, "\(path) is in use: another save to \(target) is under way")
    }
    // It may be left of a save that was killed, with another mode.
    guard fchmod(descriptor, 0o600) == 0, ftruncate(descriptor, 0) == 0 else {
      let failure = Self.failure("emptying", path)
      Glibc.close(descriptor)
      throw failure
    }
  }

  deinit { Glibc.close(descriptor) }

  func write(_ bytes: [UInt8]) throws(CommandFailure) {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes {
        Glibc.write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written)
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw Self.failure("writing", path) }
      written += count
    }
  }

  func remove() { unlink(path) }

  /// Makes the file durable and gives it the target's name.
  func publish(replacing: Bool) throws(CommandFailure) {
    guard fsync(descriptor) == 0 else { throw Self.failure("flushing", path) }
    if replacing {
      guard rename(path, target) == 0 else { throw Self.failure("naming", target) }
    } else if link(path, target) == 0 {
      // A second name is made only where there is none, which renaming does not promise.
      unlink(path)
    } else {
      guard errno != EEXIST else {
        throw CommandFailure(ExitCode.failed, "\(target) has come to be meanwhile, and was not replaced")
      }
      // A file system without second names.
      guard access(target, F_OK) != 0, rename(path, target) == 0 else { throw Self.failure("naming", target) }
    }
    let directory = open(FilePath.parent(of: target), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer { if directory >= 0 { Glibc.close(directory) } }
    guard directory >= 0, fsync(directory) == 0 else { throw Self.failure("flushing the directory of", target) }
  }

  private static func failure(_ doing: String, _ path: String) -> CommandFailure {
    CommandFailure(ExitCode.failed, "\(doing) \(path): \(String(cString: strerror(errno)))")
  }
}
