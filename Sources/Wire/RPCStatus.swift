// The outcome of a call: gRPC's status codes, and their form on the wire.

import NIOHTTP2

/// A gRPC status code. The raw values are gRPC's.
package enum RPCCode: Int, Sendable {
  case ok = 0
  case cancelled = 1
  case unknown = 2
  case invalidArgument = 3
  case deadlineExceeded = 4
  case notFound = 5
  case alreadyExists = 6
  case permissionDenied = 7
  case resourceExhausted = 8
  case failedPrecondition = 9
  case aborted = 10
  case outOfRange = 11
  case unimplemented = 12
  case internalError = 13
  case unavailable = 14
  case dataLoss = 15
  case unauthenticated = 16
}

/// How a call ended. The message is for people and, in etcd's case, for clients that compare it letter by letter.
package struct RPCStatus: Error, Sendable, Equatable, CustomStringConvertible {
  /// A trailer beside gRPC's own ones, for what neither code nor message can say without breaking somebody.
  package struct Trailer: Sendable, Equatable {
    /// In lower case, and none of gRPC's.
    package var name: String
    package var value: String

    package init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  package var code: RPCCode
  package var message: String
  package var trailers: [Trailer]

  package init(code: RPCCode, message: String, trailers: [Trailer] = []) {
    self.code = code
    self.message = message
    self.trailers = trailers
  }

  package func trailer(_ name: String) -> String? { self.trailers.first { $0.name == name }?.value }

  package init(_ code: RPCCode, _ message: String = "") {
    self.init(code: code, message: message)
  }

  package static let ok = RPCStatus(.ok)

  package var description: String {
    self.message.isEmpty ? "\(self.code)" : "\(self.code): \(self.message)"
  }
}

extension RPCStatus {
  /// `grpc-message` on the wire: UTF-8 in which everything but printable ASCII, and `%` itself, is percent-encoded
  /// (gRPC over HTTP/2, "Responses").
  static func percentEncoded(_ message: String) -> String {
    let plain = message.utf8.allSatisfy { $0 >= 0x20 && $0 <= 0x7E && $0 != UInt8(ascii: "%") }
    if plain { return message }
    let digits = Array("0123456789ABCDEF".utf8)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(message.utf8.count * 2)
    for byte in message.utf8 {
      if byte >= 0x20 && byte <= 0x7E && byte != UInt8(ascii: "%") {
        bytes.append(byte)
      } else {
        bytes.append(UInt8(ascii: "%"))
        bytes.append(digits[Int(byte >> 4)])
        bytes.append(digits[Int(byte & 0x0F)])
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The reverse. gRPC asks receivers to be lenient: a `%` without two digits after it stands for itself.
  static func percentDecoded(_ value: String) -> String {
    guard value.utf8.contains(UInt8(ascii: "%")) else { return value }
    let source = Array(value.utf8)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(source.count)
    var index = 0
    while index < source.count {
      if source[index] == UInt8(ascii: "%"), index + 2 < source.count,
        let high = hexadecimal(source[index + 1]), let low = hexadecimal(source[index + 2])
      {
        bytes.append(high << 4 | low)
        index += 3
      } else {
        bytes.append(source[index])
        index += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  private static func hexadecimal(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    default: nil
    }
  }

  /// What a stream that was reset without a status means to its caller (gRPC over HTTP/2, "Errors").
  static func reset(_ code: HTTP2ErrorCode?) -> RPCStatus {
    switch code {
    case .none:
      RPCStatus(.internalError, "the server ended the stream without a status")
    case .some(.refusedStream):
      RPCStatus(.unavailable, "the server refused the stream before it looked at it; it is safe to try again")
    case .some(.cancel):
      RPCStatus(.cancelled, "the server cancelled the stream")
    case .some(.enhanceYourCalm):
      RPCStatus(.resourceExhausted, "the server asks for fewer requests")
    case .some(.inadequateSecurity):
      RPCStatus(.permissionDenied, "the server finds the connection not secure enough")
    case .some(let other):
      RPCStatus(.internalError, "the server reset the stream: \(other)")
    }
  }

  /// What an answer that is not gRPC means, by its HTTP status (gRPC's "HTTP to gRPC Status Code Mapping").
  static func http(_ status: String) -> RPCStatus {
    let code: RPCCode =
      switch status {
      case "400": .internalError
      case "401": .unauthenticated
      case "403": .permissionDenied
      case "404": .unimplemented
      case "429", "502", "503", "504": .unavailable
      default: .unknown
      }
    return RPCStatus(code, "the server answered with HTTP status \(status) and no gRPC status")
  }
}
