// One gateway for each file: an exclusive lock of the operating system on a file beside the database.
//
// Must never open the database file itself: closing any descriptor of it would drop SQLite's own POSIX locks in
// this process (sqlite.org/howtocorrupt.html, section 2.2). The lock file stays when the lock goes: removing it would
// let two gateways lock two files of one name.

import FoundationEssentials
import Glibc

/// Holds the lock until `release` or as long as it lives; a killed process loses it at once.
final class FileLock: Sendable {
  private let descriptor: Int32

  init(databasePath: String) throws(OpenError) {
    let path = databasePath + "-gateway.lock"
    let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw .lockFailed(path: path, reason: String(cString: strerror(errno))) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let code = errno
      let owner = Self.owner(descriptor)
      close(descriptor)
      if code == EWOULDBLOCK { throw .lockedByAnotherGateway(path: databasePath, owner: owner) }
      throw .lockFailed(path: path, reason: String(cString: strerror(code)))
    }
    self.descriptor = descriptor
    // The process id is there for whoever reads the message above; the lock itself does not depend on it.
    let text = Array("\(getpid())\n".utf8)
    if ftruncate(descriptor, 0) == 0 { _ = pwrite(descriptor, text, text.count, 0) }
  }

  /// Lets another gateway in. Closing the descriptor in `deinit` would do so too, at a moment nobody knows.
  func release() { flock(descriptor, LOCK_UN) }

  deinit { close(descriptor) }

  private static func owner(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    guard count > 0 else { return "" }
    let digits = bytes[..<count].prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    return digits.isEmpty ? "" : " (process \(String(decoding: digits, as: UTF8.self)))"
  }
}

/// Finds the one name under which a database is locked and opened.
enum DatabasePath {
  /// Follows symbolic links, so that two names of one file meet at one lock, and makes the path absolute, so that
  /// SQLite cannot take it for a URI or for a database in memory.
  static func resolve(_ path: String) throws(OpenError) -> String {
    guard let name = path.split(separator: "/").last, !path.hasSuffix("/"), name != ".", name != ".." else {
      throw .storage(path: path, reason: "the path names a directory")
    }
    if let resolved = realPath(path) {
      let attributes: [FileAttributeKey: Any]
      do {
        attributes = try FileManager.default.attributesOfItem(atPath: resolved)
      } catch {
        throw .storage(path: path, reason: "its attributes cannot be read")
      }
      guard attributes[.type] as? FileAttributeType == .typeRegular else {
        throw .storage(path: path, reason: "it is not a regular file")
      }
      let links = attributes[.referenceCount] as? Int ?? 1
      guard links == 1 else { throw .severalLinks(path: path, count: links) }
      return resolved
    }
    let directory = path.dropLast(name.count)
    guard let resolved = realPath(directory.isEmpty ? "." : String(directory)) else {
      throw .directoryMissing(path: path)
    }
    return (resolved == "/" ? "" : resolved) + "/" + name
  }

  private static func realPath(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }
}
