// Small files beside the log that must be whole or absent after a crash: written under another name, flushed, renamed,
// and their directory flushed.

import Glibc

enum DurableFile {
  /// Replaces the file. `permissions` are those of a new file.
  static func write(_ bytes: [UInt8], to path: String, permissions: mode_t = 0o600) throws(NodeError) {
    func failure(_ doing: String) -> NodeError { .storage("\(doing) \(path): \(String(cString: strerror(errno)))") }
    let temporary = path + ".new"
    let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, permissions)
    guard file >= 0 else { throw failure("making") }
    var written = 0
    while written < bytes.count {
      let count = bytes[written...].withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
      guard count > 0 else {
        Glibc.close(file)
        throw failure("writing")
      }
      written += count
    }
    let isFlushed = fsync(file) == 0
    Glibc.close(file)
    guard isFlushed else { throw failure("flushing") }
    guard rename(temporary, path) == 0 else { throw failure("renaming") }
    let directory = open(FilePath.parent(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw failure("opening the directory of") }
    defer { Glibc.close(directory) }
    guard fsync(directory) == 0 else { throw failure("flushing the directory of") }
  }
}
