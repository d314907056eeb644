// A streaming call as an asynchronous sequence of its messages.

import NIOCore
import SwiftProtobuf
import Wire

/// One streaming call: messages go out by `send`, come in by `messages`, and the call ends with its reader.
///
/// Messages wait without bound for a reader that is slow, so a reader folds each one into its own state at once.
final class MessageStream<Response: Message & Sendable>: ClientStreamHandler {
  /// Ends with the call: by itself where the server ended it well, else with its `RPCStatus`.
  let messages: AsyncThrowingStream<Response, any Error>
  private let incoming: AsyncThrowingStream<Response, any Error>.Continuation

  private let ended: @Sendable (RPCStatus) -> Void

  /// - Parameter ended: told how the call ended, on the connection's event loop, before its reader is.
  init(ended: @escaping @Sendable (RPCStatus) -> Void) {
    (messages, incoming) = AsyncThrowingStream.makeStream()
    self.ended = ended
  }

  func received(_ message: ByteBuffer) {
    do {
      incoming.yield(try Response(received: message))
    } catch {
      incoming.finish(throwing: error)
    }
  }

  func closed(_ status: RPCStatus) {
    ended(status)
    incoming.finish(throwing: status.code == .ok ? nil : status)
  }

  /// Ends the call when its reader has gone.
  func endWithReader(_ call: ClientStream) {
    incoming.onTermination = { _ in call.cancel() }
  }
}

/// A streaming call that is open.
struct OpenStream<Response: Message & Sendable>: Sendable {
  let call: ClientStream
  let messages: AsyncThrowingStream<Response, any Error>
}
