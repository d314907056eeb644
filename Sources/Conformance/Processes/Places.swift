// Where programs are put: directories of their own and ports that are free.

import Foundation
import Glibc
import Synchronization

/// A directory that goes away with its owner.
package final class ScratchDirectory: Sendable {
  package let path: String

  package init() throws {
    var template = Array((NSTemporaryDirectory() + "/portcullis-XXXXXX").utf8CString)
    guard mkdtemp(&template) != nil else { throw CocoaError(.fileWriteUnknown) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  package func callAsFunction(_ name: String) -> String { path + "/" + name }
}

package enum Ports {
  /// Two runs beside each other can be given ranges of their own, so that neither takes a port which the other has just asked
  /// for, or gives up for a moment: PORTCULLIS_PORTS=10000-19999.
  private static let range = parse(ProcessInfo.processInfo.environment["PORTCULLIS_PORTS"]) ?? 10_000..<30_000

  private static func parse(_ text: String?) -> Range<Int>? {
    guard let text else { return nil }
    let bounds = text.split(separator: "-").compactMap { Int($0) }
    guard bounds.count == 2, bounds[0] >= 1024, bounds[1] <= 65_535, bounds[1] - bounds[0] >= 1000 else {
      fatalError("PORTCULLIS_PORTS is \(text), and should be a range of a thousand ports or more: 10000-19999")
    }
    return bounds[0]..<bounds[1] + 1
  }

  /// The port that was given last.
  private static let last = Mutex(Int.random(in: range))

  /// Ports on loopback that nobody listens on, below the range from which the system takes them for connections. They are
  /// given in turn: one that was given is not listened on yet when the next is asked for, and must not be given again.
  package static func free(_ count: Int) -> [Int] {
    last.withLock { last in
      (0..<count).map { _ in
        repeat { last = last + 1 < range.upperBound ? last + 1 : range.lowerBound } while !canListen(last)
        return last
      }
    }
  }

  private static func canListen(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}
