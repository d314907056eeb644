// Owns the files that the enumeration reads and lays down, and the processes that it starts.

import CrashStates
import Glibc

struct Failure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }

  static func system(_ operation: String, _ path: String) -> Failure {
    Failure("\(operation) \(path): \(String(cString: strerror(errno)))")
  }
}

enum Files {
  static func read(_ path: String) throws(Failure) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("opening", path) }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: Int(lseek(descriptor, 0, SEEK_END)))
    var filled = 0
    while filled < bytes.count {
      let got = bytes.withUnsafeMutableBytes {
        pread(descriptor, $0.baseAddress.map { $0 + filled }, $0.count - filled, off_t(filled))
      }
      guard got > 0 else { throw .system("reading", path) }
      filled += got
    }
    return bytes
  }

  static func write(_ bytes: [UInt8], to path: String) throws(Failure) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .system("making", path) }
    defer { close(descriptor) }
    var done = 0
    while done < bytes.count {
      let put = bytes.withUnsafeBytes {
        pwrite(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done, off_t(done))
      }
      guard put > 0 else { throw .system("writing", path) }
      done += put
    }
  }

  static func makeDirectory(_ path: String) throws(Failure) {
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw .system("making", path) }
  }

  /// Removes what is in a directory, and the directory itself.
  static func remove(_ path: String) {
    for name in names(in: path) {
      let inner = path + "/" + name
      if unlink(inner) != 0 { remove(inner) }
    }
    rmdir(path)
  }

  static func names(in path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// What is below a directory.
  static func image(of path: String) throws(Failure) -> DiskImage {
    var image = DiskImage()
    func visit(_ name: String) throws(Failure) {
      for inner in names(in: path + "/" + name) {
        let full = name.isEmpty ? inner : name + "/" + inner
        var status = stat()
        guard stat(path + "/" + full, &status) == 0 else { throw .system("looking at", full) }
        if status.st_mode & S_IFMT == S_IFDIR {
          image.directories.append(full)
          try visit(full)
        } else {
          image.files.append(DiskImage.File(name: full, bytes: try read(path + "/" + full)))
        }
      }
    }
    try visit("")
    return DiskImage(directories: image.directories, files: image.files)
  }

  /// Makes a directory hold exactly an image.
  static func lay(_ image: DiskImage, in path: String) throws(Failure) {
    remove(path)
    try makeDirectory(path)
    for name in image.directories { try makeDirectory(path + "/" + name) }
    for file in image.files { try write(file.bytes, to: path + "/" + file.name) }
  }
}

enum Processes {
  static let ownPath: String = {
    guard let path = realpath("/proc/self/exe", nil) else {
      preconditionFailure("this program does not know its place")
    }
    defer { free(path) }
    return String(cString: path)
  }()

  /// The recorder is built beside this program.
  static var recorder: String {
    (ownPath.lastIndex(of: "/").map { String(ownPath[..<$0]) } ?? ".") + "/libCallRecorder.so"
  }

  /// Runs this program again and returns how that ended: its exit code, or minus the signal.
  static func runSelf(_ arguments: [String], environment: [String] = []) throws(Failure) -> Int32 {
    var inherited: [String] = []
    var next = environ
    while let pointer = next.pointee {
      inherited.append(String(cString: pointer))
      next += 1
    }
    var all = ([ownPath] + arguments).map { strdup($0) } + [nil]
    var variables = (inherited + environment).map { strdup($0) } + [nil]
    defer { for pointer in all + variables { free(pointer) } }
    var process = pid_t()
    guard posix_spawn(&process, ownPath, nil, nil, &all, &variables) == 0 else { throw .system("starting", ownPath) }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 {
      guard errno == EINTR else { throw .system("waiting for", ownPath) }
    }
    return status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
  }
}

/// What a recorded program says between its calls: a line for each mark.
struct Marks {
  private let descriptor: Int32

  init(path: String) throws(Failure) {
    descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .system("making", path) }
  }

  func set(_ text: String) {
    let bytes = Array(text.utf8)
    precondition(Glibc.write(descriptor, bytes, bytes.count) == bytes.count, "a mark could not be set")
  }
}
