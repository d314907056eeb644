// The name and the digest of a request that may be repeated.
//
// Must never give two requests that do different things the same digest: every part is written with its length and
// kind before it goes into SHA-256.

import Crypto

/// A client's name for one request, and what that request was.
package struct RequestKey: Sendable, Hashable {
  package static let maximumBytes = 255

  package let name: String
  let hash: [UInt8]

  /// - Parameter name: at most `maximumBytes` long; the caller has looked.
  init(_ name: String, of statements: [SQLStatement], isAllOrNothing: Bool) {
    var writer = ByteWriter()
    writer.byte(isAllOrNothing ? 1 : 0)
    writer.count(statements.count)
    for statement in statements {
      writer.text(statement.sql)
      switch statement.parameters {
      case .positional(let values):
        writer.byte(0)
        writer.count(values.count)
        for value in values { writer.value(value) }
      case .named(let values):
        writer.byte(1)
        writer.count(values.count)
        for (name, value) in values.sorted(by: { $0.key < $1.key }) {
          writer.text(name)
          writer.value(value)
        }
      }
    }
    self.name = name
    hash = Array(SHA256.hash(data: writer.bytes))
  }
}
