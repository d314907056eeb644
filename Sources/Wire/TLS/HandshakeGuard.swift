// Stands between the socket and TLS until the two ends have agreed: it gives a handshake a limited time, and answers those
// that speak something else.
//
// It must never hold bytes of a connection back once the first three of them show that it is TLS.

package import Logging
import NIOConcurrencyHelpers
package import NIOCore

/// TLS's first record (RFC 8446, section 5.1): the kind handshake, and a version whose first byte is 3.
package enum TLSRecord {
  /// Nil while there are too few bytes to tell.
  package static func begins(_ bytes: ByteBufferView) -> Bool? {
    guard let first = bytes.first else { return nil }
    guard first == 0x16 else { return false }
    guard bytes.count >= 3 else { return nil }
    let version = bytes.dropFirst().prefix(2)
    return version.first == 3 && version.last.map { (1...4).contains($0) } == true
  }
}

final class HandshakeGuard: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer
  typealias OutboundOut = ByteBuffer

  struct Events {
    let timedOut: () -> Void
    /// The other end does not speak TLS. It has been answered, if it is known how, and the connection is being closed.
    let plainText: () -> Void
  }

  private let timeout: TimeAmount
  /// Whether callers may be taken for clients of HTTP.
  private let answersHTTP: Bool
  private let events: Events
  private var seen = ByteBuffer()
  private var isTLS = false
  private var isClosing = false
  private var timer: Scheduled<Void>?

  init(timeout: TimeAmount, answersHTTP: Bool, events: Events) {
    self.timeout = timeout
    self.answersHTTP = answersHTTP
    self.events = events
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.timer = context.eventLoop.assumeIsolated().scheduleTask(in: self.timeout) {
      self.events.timedOut()
      // From here the close does not go through TLS, which would wait for a farewell.
      context.close(promise: nil)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.timer?.cancel()
    self.timer = nil
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if self.isTLS { return context.fireChannelRead(data) }
    guard !self.isClosing else { return }
    var bytes = self.unwrapInboundIn(data)
    self.seen.writeBuffer(&bytes)
    switch TLSRecord.begins(self.seen.readableBytesView) {
    case nil: return
    case true:
      self.isTLS = true
      let seen = self.seen
      self.seen = ByteBuffer()
      context.fireChannelRead(self.wrapInboundOut(seen))
    case false:
      self.isClosing = true
      self.events.plainText()
      self.answer(context)
    }
  }

  private func answer(_ context: ChannelHandlerContext) {
    guard self.answersHTTP, let answer = Self.answer(to: self.seen.readableBytesView) else {
      return context.close(promise: nil)
    }
    context.writeAndFlush(self.wrapOutboundOut(answer)).assumeIsolated().whenComplete { _ in
      context.close(promise: nil)
    }
  }

  private static let explanation = "this port speaks TLS: use https://"

  /// What a client of HTTP understands, in the version that it speaks; nil for what is neither.
  private static func answer(to bytes: ByteBufferView) -> ByteBuffer? {
    guard bytes.first.map({ (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }) == true else { return nil }
    guard bytes.starts(with: "PRI ".utf8) else {
      let body = explanation + "\n"
      return ByteBuffer(
        string: "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
          + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }
    // Empty settings, then a farewell that says INADEQUATE_SECURITY (RFC 9113, sections 6.5, 6.8 and 7).
    var frames = ByteBuffer(bytes: [0, 0, 0, 4, 0, 0, 0, 0, 0])
    frames.writeBytes([0, 0, UInt8(8 + explanation.utf8.count), 7, 0, 0, 0, 0, 0])
    frames.writeInteger(UInt32(0))
    frames.writeInteger(UInt32(0xc))
    frames.writeString(explanation)
    return frames
  }
}

/// Says each thing that comes from outside at most once a second, so that whoever knocks cannot fill the log, and cannot
/// drown what is said of others.
package final class LimitedLog: Sendable {
  private struct Said {
    var next: NIODeadline
    var unsaid = 0
  }

  /// More different texts than this within a second count as one.
  private static let maxTexts = 32

  private let logger: Logger
  private let said = NIOLockedValueBox<[String: Said]>([:])

  package init(_ logger: Logger) { self.logger = logger }

  package func warning(_ text: String, metadata: Logger.Metadata = [:]) {
    let unsaid = self.said.withLockedValue { said -> Int? in
      let now = NIODeadline.now()
      if said[text] == nil, said.count >= Self.maxTexts { said = said.filter { $0.value.next > now } }
      let key = said[text] == nil && said.count >= Self.maxTexts ? "" : text
      if let known = said[key], now < known.next {
        said[key]?.unsaid += 1
        return nil
      }
      let unsaid = said[key]?.unsaid ?? 0
      said[key] = Said(next: now + .seconds(1))
      return unsaid
    }
    guard let unsaid else { return }
    var metadata = metadata
    if unsaid > 0 { metadata["more"] = "\(unsaid)" }
    self.logger.warning("\(text)", metadata: metadata)
  }
}
