// Owns the directory around the LMDB files: making it, making its existence durable, and holding it for one opening.
//
// It must never be held twice. LMDB itself lets any number of processes in, and a second node on the same log would
// vote and acknowledge in the first one's name. LMDB also breaks when one process opens an environment twice, and the
// lock here stops that as well, since flock(2) locks belong to the opening and not to the process.

import Glibc

final class LogDirectory: Sendable {
  static let lockFileName = "owner.lock"
  static let dataFileName = "data.mdb"

  let path: String
  private let lockDescriptor: Int32

  /// Makes the directory when it is absent, and takes it.
  init(takingOver path: String) throws(StorageError) {
    self.path = path
    try Self.makeDirectories(path)
    let lockPath = path + "/" + Self.lockFileName
    lockDescriptor = open(lockPath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard lockDescriptor >= 0 else { throw .fromSystem(errno, operation: "opening", path: lockPath) }
    do throws(StorageError) {
      try Self.lock(lockDescriptor, exclusively: true, directory: path)
      try Self.write(processID: getpid(), to: lockDescriptor, path: lockPath)
    } catch {
      Glibc.close(lockDescriptor)
      throw error
    }
  }

  /// Takes an existing directory for reading only, without making a file. A copy of a directory may have no lock file.
  init(readingAt path: String) throws(StorageError) {
    self.path = path
    let lockPath = path + "/" + Self.lockFileName
    lockDescriptor = open(lockPath, O_RDONLY | O_CLOEXEC)
    guard lockDescriptor >= 0 else {
      if errno == ENOENT { return }
      throw .fromSystem(errno, operation: "opening", path: lockPath)
    }
    do throws(StorageError) {
      try Self.lock(lockDescriptor, exclusively: false, directory: path)
    } catch {
      Glibc.close(lockDescriptor)
      throw error
    }
  }

  deinit {
    if lockDescriptor >= 0 { Glibc.close(lockDescriptor) }
  }

  /// Lets go before the object goes away.
  func release() {
    if lockDescriptor >= 0 { flock(lockDescriptor, LOCK_UN) }
  }

  /// The size of `data.mdb`, or nil when there is none.
  static func dataFileBytes(in path: String) throws(StorageError) -> Int? {
    var status = stat()
    let dataPath = path + "/" + dataFileName
    guard stat(dataPath, &status) == 0 else {
      if errno == ENOENT { return nil }
      throw .fromSystem(errno, operation: "reading the state", path: dataPath)
    }
    return Int(status.st_size)
  }

  /// What the file system has left for this user; as much as there can be when it does not say.
  static func freeBytes(in path: String) -> Int {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return .max }
    return Int(status.f_bavail) * Int(status.f_frsize)
  }

  /// Makes the names of files in `path` durable. A file whose name is lost in a power cut is lost with it.
  static func sync(_ path: String) throws(StorageError) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .fromSystem(errno, operation: "opening", path: path) }
    defer { Glibc.close(descriptor) }
    guard fsync(descriptor) == 0 else { throw .fromSystem(errno, operation: "flushing", path: path) }
  }

  private static func makeDirectories(_ path: String) throws(StorageError) {
    var status = stat()
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT == S_IFDIR else { throw .notADirectory(path: path) }
      return
    }
    guard errno == ENOENT else { throw .fromSystem(errno, operation: "reading the state", path: path) }
    let parent = parentDirectory(of: path)
    if parent != path { try makeDirectories(parent) }
    // Only its own user may read it: the log holds every value ever written.
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
      throw .fromSystem(errno, operation: "making", path: path)
    }
    try sync(parent)
  }

  private static func parentDirectory(of path: String) -> String {
    var trimmed = Substring(path)
    while trimmed.count > 1, trimmed.hasSuffix("/") { trimmed.removeLast() }
    guard let slash = trimmed.lastIndex(of: "/") else { return "." }
    return slash == trimmed.startIndex ? "/" : String(trimmed[..<slash])
  }

  private static func lock(_ descriptor: Int32, exclusively: Bool, directory: String) throws(StorageError) {
    while flock(descriptor, (exclusively ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0 {
      switch errno {
      case EINTR: continue
      case EWOULDBLOCK: throw .inUse(path: directory, processID: readProcessID(from: descriptor))
      default: throw .fromSystem(errno, operation: "locking", path: directory)
      }
    }
  }

  /// The owner's process id is in the lock file only so that the refusal can name it; the lock alone decides. It is
  /// written over the last one in place, since a full disk may not give back a block that was let go.
  private static func write(processID: Int32, to descriptor: Int32, path: String) throws(StorageError) {
    var text = Array("\(processID)\n".utf8)
    text += [UInt8](repeating: UInt8(ascii: "\n"), count: max(0, 16 - text.count))
    guard pwrite(descriptor, text, text.count, 0) == text.count || errno == ENOSPC || errno == EDQUOT else {
      throw .fromSystem(errno, operation: "writing", path: path)
    }
  }

  private static func readProcessID(from descriptor: Int32) -> Int32? {
    var text = [UInt8](repeating: 0, count: 16)
    let count = pread(descriptor, &text, text.count, 0)
    guard count > 0 else { return nil }
    let digits = text[..<count].prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
    return Int32(String(decoding: digits, as: UTF8.self))
  }
}
