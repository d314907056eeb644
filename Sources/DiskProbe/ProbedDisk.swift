// Owns what the system says of the disk below a directory: file system, mount, device, write cache.
//
// None of it is measured, and the kernel may be wrong: a device that hides its volatile cache is taken at its word. It
// is there to explain figures and to be laid beside them.

import Glibc

package struct ProbedDisk: Sendable, Equatable, Codable {
  /// The directory that was asked about, without links.
  package var directory: String
  /// Such as `ext4`.
  package var fileSystem: String
  package var mountPoint: String
  package var mountOptions: String
  /// Such as `vda`; nil where the kernel knows of none, as with a file system in memory or on a network.
  package var device: String?
  /// `write back`: the device has a cache that a power cut empties, and each flush is sent to it. `write through`: it
  /// is said to have none, and no flush is sent.
  package var writeCache: String?
  package var isRotating: Bool?
  /// A disk that a hypervisor plays: a flush is durable if the host makes it so.
  package var isVirtual: Bool?
  package var scheduler: String?
  package var freeBytes: Int
  package var kernel: String
  package var processors: Int
  /// Of the last minute, when the measurement began.
  package var loadAverage: Double

  /// Everything in it is gone when the machine is.
  package var isInMemory: Bool { ["tmpfs", "ramfs", "devtmpfs", "rootfs"].contains(fileSystem) }

  package var isOnNetwork: Bool {
    ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "glusterfs"].contains(fileSystem)
      || fileSystem.hasPrefix("fuse")
  }

  /// The file system was told not to flush the device's cache.
  package var hasFlushesOff: Bool {
    mountOptions.split(separator: ",").contains { ["nobarrier", "barrier=0", "sync=disabled"].contains($0) }
  }
}

extension ProbedDisk {
  static var processorCount: Int { sysconf(Int32(_SC_NPROCESSORS_ONLN)) }

  /// - Throws: where no directory is, or none that may be written to.
  package init(of path: String) throws(ProbeError) {
    var status = stat()
    guard stat(path, &status) == 0 else { throw .fromSystem(errno, operation: "looking at", path: path) }
    guard status.st_mode & S_IFMT == S_IFDIR else { throw .notADirectory(path: path) }
    guard access(path, W_OK | X_OK) == 0 else { throw .fromSystem(errno, operation: "writing to", path: path) }
    guard let real = Self.resolved(path) else { throw .fromSystem(errno, operation: "resolving", path: path) }
    var space = statvfs()
    guard statvfs(path, &space) == 0 else { throw .fromSystem(errno, operation: "looking at the space of", path: path) }
    directory = real
    freeBytes = Int(clamping: UInt64(space.f_bavail) * UInt64(space.f_frsize))
    let mount = Self.mount(of: real, in: Self.text(of: "/proc/self/mountinfo") ?? "")
    fileSystem = mount?.fileSystem ?? "unknown"
    mountPoint = mount?.point ?? "unknown"
    mountOptions = mount?.options ?? ""
    let queue = mount.flatMap(Self.queueDirectory)
    device = queue?.split(separator: "/").dropLast().last.map(String.init)
    writeCache = queue.flatMap { Self.text(of: $0 + "/write_cache") }
    isRotating = queue.flatMap { Self.text(of: $0 + "/rotational") }.map { $0 == "1" }
    isVirtual = queue.map { $0.contains("/virtio") || $0.contains("/vbd-") || $0.contains("/xen") }
    scheduler = queue.flatMap { Self.text(of: $0 + "/scheduler") }.map(Self.chosen)
    var system = utsname()
    uname(&system)
    kernel = withUnsafeBytes(of: &system.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    processors = Self.processorCount
    var averages = [0.0]
    loadAverage = getloadavg(&averages, 1) == 1 ? averages[0] : 0
  }

  private static func resolved(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
  }

  /// What a small file holds, without the line break at its end.
  static func text(of path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = read(descriptor, &block, block.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { break }
      bytes += block[..<count]
    }
    while bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
  }

  /// "none [mq-deadline] bfq" → "mq-deadline".
  private static func chosen(_ text: String) -> String {
    text.split(separator: " ").first { $0.hasPrefix("[") }.map { String($0.dropFirst().dropLast()) } ?? text
  }
}

extension ProbedDisk {
  /// One line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
  package struct Mount: Sendable, Equatable {
    package var point: String
    package var fileSystem: String
    package var source: String
    /// Those of the mount, then those of the file system.
    package var options: String
    /// "254:0".
    package var deviceNumber: String
  }

  /// The mount that a path without links lies in. Of several at one point the last hides the others.
  package static func mount(of path: String, in mountInfo: String) -> Mount? {
    var found: Mount?
    for line in mountInfo.split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { continue }
      let point = unescaped(fields[4])
      guard point == "/" || path == point || path.hasPrefix(point + "/"), point.count >= found?.point.count ?? 0 else {
        continue
      }
      found = Mount(
        point: point, fileSystem: String(fields[dash + 1]), source: unescaped(fields[dash + 2]),
        options: "\(fields[5]),\(fields[dash + 3])", deviceNumber: String(fields[2]))
    }
    return found
  }

  /// A blank is `\040` there, and so on.
  private static func unescaped(_ field: Substring) -> String {
    guard field.contains("\\") else { return String(field) }
    var bytes: [UInt8] = []
    var rest = field.utf8[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "\\"), let code = UInt8(Substring(rest.prefix(3)), radix: 8) {
        bytes.append(code)
        rest = rest.dropFirst(3)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Where the kernel tells of the device's queue: a partition's is that of its disk.
  private static func queueDirectory(of mount: Mount) -> String? {
    var numbers = [mount.deviceNumber]
    // Some file systems, such as btrfs, have a number of their own and name the device.
    var status = stat()
    if mount.source.hasPrefix("/dev/"), stat(mount.source, &status) == 0 {
      numbers.append("\(major(status.st_rdev)):\(minor(status.st_rdev))")
    }
    for number in numbers {
      guard let device = resolved("/sys/dev/block/" + number) else { continue }
      for candidate in [device + "/queue", device + "/../queue"] {
        if let queue = resolved(candidate) { return queue }
      }
    }
    return nil
  }

  /// How Linux puts the two parts of a device's number together (makedev(3)).
  private static func major(_ device: UInt) -> UInt { (device >> 8 & 0xfff) | (device >> 32 & 0xffff_f000) }
  private static func minor(_ device: UInt) -> UInt { (device & 0xff) | (device >> 12 & 0xffff_ff00) }
}
