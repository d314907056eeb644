// One call at the client: what is known of its answer so far.

import NIOCore
import NIOHPACK
import NIOHTTP2

/// Touched on the connection's event loop only.
final class ClientCall {
  enum Sink {
    case unary(@Sendable (Result<ByteBuffer, RPCStatus>) -> Void)
    case stream(any ClientStreamHandler)
  }

  let streamID: HTTP2StreamID
  let deadline: NIODeadline?
  private var sink: Sink?
  private var assembler = MessageAssembler()
  private var answer: ByteBuffer?
  private var hasHeaders = false
  /// This side has ended its request.
  var isHalfClosed = false

  init(streamID: HTTP2StreamID, deadline: NIODeadline?, sink: Sink) {
    self.streamID = streamID
    self.deadline = deadline
    self.sink = sink
  }

  var isOver: Bool { self.sink == nil }

  /// Takes a header block and returns how the call ended, if this block says so.
  func receive(_ headers: HPACKHeaders, isEnd: Bool) -> RPCStatus? {
    if !self.hasHeaders {
      self.hasHeaders = true
      if let status = headers.first(name: ":status"), status != "200" {
        return .http(status)
      }
      guard isEnd else { return nil }
    }
    guard isEnd else { return nil }
    return Self.status(of: headers)
  }

  private static func status(of trailers: HPACKHeaders) -> RPCStatus {
    guard let value = trailers.first(name: "grpc-status") else {
      return RPCStatus(.unknown, "the server ended the call without grpc-status")
    }
    if value == "0" { return .ok }
    let code = Int(value).flatMap(RPCCode.init(rawValue:)) ?? .unknown
    var status = RPCStatus(code, RPCStatus.percentDecoded(trailers.first(name: "grpc-message") ?? ""))
    for (name, value, _) in trailers where !Self.isOfTheProtocol(name) {
      status.trailers.append(RPCStatus.Trailer(name: name, value: value))
    }
    return status
  }

  private static func isOfTheProtocol(_ name: String) -> Bool {
    name.hasPrefix("grpc-") || name.hasPrefix(":") || name == "content-type"
  }

  /// Takes bytes of messages and returns how the call ended, if they end it.
  func receive(_ bytes: ByteBuffer, isEnd: Bool, limitBytes: Int) -> RPCStatus? {
    self.assembler.append(bytes)
    do {
      while let message = try self.assembler.next(limitBytes: limitBytes) {
        switch self.sink {
        case .unary:
          guard self.answer == nil else {
            return RPCStatus(.internalError, "the server answered a unary call with more than one message")
          }
          self.answer = message
        case .stream(let handler):
          handler.received(message)
        case nil:
          return nil
        }
      }
    } catch {
      return error
    }
    return isEnd ? RPCStatus(.internalError, "the server ended the stream without a status") : nil
  }

  /// Tells the caller how the call ended; later endings go nowhere.
  func finish(_ status: RPCStatus) {
    guard let sink = self.sink else { return }
    self.sink = nil
    switch sink {
    case .stream(let handler):
      handler.closed(status)
    case .unary(let completion):
      guard status.code == .ok else {
        completion(.failure(status))
        return
      }
      guard let answer = self.answer else {
        completion(.failure(RPCStatus(.internalError, "the server ended a unary call without an answer")))
        return
      }
      completion(.success(answer))
    }
  }
}

extension HPACKHeaders {
  /// The first value of a header whose name is in lower case, as HTTP/2 demands, without building a list.
  fileprivate func first(name wanted: String) -> String? {
    for (name, value, _) in self where name == wanted { return value }
    return nil
  }
}
