// Owns what a result says about the machine: read from the kernel, once, before the load.
//
// It must never fail a run, and never guess: what cannot be read is left out.

import Glibc
import Measurement

enum ProcessFacts {
  static var processorCount: Int { Swift.max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}

extension RunEnvironment {
  /// What can be known of this machine and this process.
  /// - Parameter targetDirectory: whose file system is told; nil is the working directory.
  static func capture(targetDirectory: String?) -> RunEnvironment {
    #if DEBUG
    let build = "debug"
    #else
    let build = "release"
    #endif
    var environment = RunEnvironment(processorCount: ProcessFacts.processorCount, buildConfiguration: build)
    environment.operatingSystem = field("PRETTY_NAME=", inLinesOf: "/etc/os-release")?.filter { $0 != "\"" }
    environment.kernel = firstLine(of: "/proc/sys/kernel/osrelease")
    #if arch(x86_64)
    environment.architecture = "x86_64"
    #elseif arch(arm64)
    environment.architecture = "arm64"
    #endif
    environment.processorModel = field("model name", inLinesOf: "/proc/cpuinfo").map(afterColon)
    environment.memoryBytes = field("MemTotal:", inLinesOf: "/proc/meminfo").flatMap(kibibytes)
    environment.clockSource = firstLine(of: "/sys/devices/system/clocksource/clocksource0/current_clocksource")
    environment.loadAverage = firstLine(of: "/proc/loadavg").map {
      $0.split(separator: " ").prefix(3).joined(separator: " ")
    }
    environment.workingDirectory = KernelFile.path(of: nil)
    environment.fileSystem = KernelFile.path(of: targetDirectory).flatMap { path in
      KernelFile.text(at: "/proc/self/mountinfo").flatMap { Mount.holding(path, mountInfo: $0)?.description }
    }
    return environment
  }

  private static func firstLine(of path: String) -> String? {
    KernelFile.text(at: path)?.split(separator: "\n").first.map(String.init)
  }

  /// The rest of the first line that begins with `prefix`.
  private static func field(_ prefix: String, inLinesOf path: String) -> String? {
    KernelFile.text(at: path)?.split(separator: "\n").first { $0.hasPrefix(prefix) }.map {
      String($0.dropFirst(prefix.count))
    }
  }

  private static func afterColon(_ text: String) -> String {
    String(text.drop { $0 == ":" || $0.isWhitespace })
  }

  private static func kibibytes(_ text: String) -> UInt64? {
    text.split(separator: " ").first.flatMap { UInt64($0) }.map { $0 * 1_024 }
  }
}

/// A line of /proc/self/mountinfo (proc(5)):
/// `36 35 98:0 /root /mount/point options optional… - type source superblock-options`.
package struct Mount: Equatable {
  package var device: String
  package var mountPoint: String
  package var options: String
  package var type: String
  package var source: String

  package init?(line: Substring) {
    let halves = line.split(separator: " - ", maxSplits: 1)
    guard halves.count == 2 else { return nil }
    let left = halves[0].split(separator: " ")
    let right = halves[1].split(separator: " ")
    guard left.count >= 6, right.count >= 2 else { return nil }
    device = String(left[2])
    // The kernel writes a blank in a path as \040.
    mountPoint = String(left[4].replacing("\\040", with: " "))
    options = String(left[5]) + (right.count > 2 ? ",\(right[2])" : "")
    type = String(right[0])
    source = String(right[1])
  }

  /// The mount that holds `path`: the longest mount point above it, and of two on one point the later, which hides the
  /// earlier.
  package static func holding(_ path: String, mountInfo: String) -> Mount? {
    var best: Mount?
    for mount in mountInfo.split(separator: "\n").compactMap(Mount.init(line:)) where mount.isAbove(path) {
      if mount.mountPoint.utf8.count >= (best?.mountPoint.utf8.count ?? 0) { best = mount }
    }
    return best
  }

  private func isAbove(_ path: String) -> Bool {
    mountPoint == "/" || path == mountPoint || path.hasPrefix(mountPoint + "/")
  }

  var description: RunEnvironment.FileSystemDescription {
    // A partition has no queue of its own: the disk's is one directory up.
    let device = "/sys/dev/block/\(device)"
    let cache =
      KernelFile.text(at: "\(device)/queue/write_cache") ?? KernelFile.text(at: "\(device)/../queue/write_cache")
    return RunEnvironment.FileSystemDescription(
      type: type, source: source, mountPoint: mountPoint, mountOptions: options,
      writeCache: cache?.split(separator: "\n").first.map(String.init))
  }
}

/// Small files that the kernel makes up when they are read, whose size nobody knows beforehand.
enum KernelFile {
  private static let sizeLimitBytes = 4 * 1_024 * 1_024

  static func text(at path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 * 1_024)
    while bytes.count < sizeLimitBytes {
      let count = read(file, &chunk, chunk.count)
      guard count >= 0 else { return nil }
      guard count > 0 else { break }
      bytes.append(contentsOf: chunk[..<count])
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The absolute path of a directory, without links in it; of the working directory for nil.
  static func path(of directory: String?) -> String? {
    guard let buffer = realpath(directory ?? ".", nil) else { return nil }
    defer { free(buffer) }
    return String(cString: buffer)
  }

  /// Where a symbolic link points.
  static func link(at path: String) -> String? {
    var target = [CChar](repeating: 0, count: 4 * 1_024)
    let count = readlink(path, &target, target.count)
    return count > 0 ? String(decoding: target[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
  }

  /// Whether the write was taken.
  @discardableResult
  static func write(_ text: String, to path: String) -> Bool {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return false }
    defer { close(file) }
    let bytes = Array(text.utf8)
    return Glibc.write(file, bytes, bytes.count) == bytes.count
  }
}
