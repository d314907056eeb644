// Whose socket is whose: the system's table of TCP sockets (proc(5)), and the descriptors of a process.

import Foundation
import Glibc

enum SocketTable {
  /// The inode of the socket on loopback from `localPort` to `remotePort`.
  ///
  /// The table also has every connection that ended within the last minute, so it is searched as bytes: taken apart line
  /// by line it would hold up the proxy, and with it the cluster, when there were many.
  static func inode(localPort: Int, remotePort: Int) -> String? {
    let wanted = " 0100007F:\(hexadecimal(localPort)) 0100007F:\(hexadecimal(remotePort)) "
    return (bytes(of: "/proc/self/net/tcp") + [0]).withUnsafeBufferPointer { table in
      guard let start = table.baseAddress,
        let found = UnsafeRawPointer(start).withMemoryRebound(
          to: CChar.self, capacity: table.count, { strstr($0, wanted) })
      else { return nil }
      let rest = table[(UnsafeRawPointer(found) - UnsafeRawPointer(start))...].prefix { $0 != UInt8(ascii: "\n") }
      let fields = String(decoding: rest, as: UTF8.self).split(separator: " ")
      return fields.count > 8 ? String(fields[8]) : nil
    }
  }

  /// To its very end: this file gives a page at a time, which Foundation takes for all of it.
  private static func bytes(of path: String) -> [UInt8] {
    let file = open(path, O_RDONLY)
    guard file >= 0 else { return [] }
    defer { close(file) }
    var bytes: [UInt8] = []
    var page = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(file, &page, page.count)
      guard count > 0 else { return bytes }
      bytes += page[..<count]
    }
  }

  static func process(_ process: pid_t, holds inode: String) -> Bool {
    let folder = "/proc/\(process)/fd"
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { return false }
    return names.contains {
      (try? FileManager.default.destinationOfSymbolicLink(atPath: folder + "/" + $0)) == "socket:[\(inode)]"
    }
  }

  private static func hexadecimal(_ port: Int) -> String {
    let digits = String(port, radix: 16, uppercase: true)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }
}
