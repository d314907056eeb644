// Decides by a connection's first bytes what it speaks: HTTP/2's preface means gRPC, TLS's first record that somebody has
// the wrong port or scheme, anything else HTTP/1.

import NIOCore

/// Removes itself once it has decided, and hands the bytes that it looked at to whatever came in its place.
final class ProtocolSniffer: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  /// RFC 9113, section 3.4.
  private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

  enum Finding {
    case http2
    case http1
    /// Where TLS is not spoken, or inside it. HTTP/1's answer to it, "bad request", is one that clients of TLS know.
    case tls
  }

  private let timeout: TimeAmount
  private let configure: (Finding, any Channel) throws -> Void
  private var seen = ByteBuffer()
  private var timer: Scheduled<Void>?
  /// Asked to make room, which a connection is given a second for to say what it wants.
  private var isPressed = false

  init(timeout: TimeAmount, configure: @escaping (Finding, any Channel) throws -> Void) {
    self.timeout = timeout
    self.configure = configure
  }

  func handlerAdded(context: ChannelHandlerContext) {
    self.timer = context.eventLoop.assumeIsolated().scheduleTask(in: self.timeout) { context.close(promise: nil) }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.timer?.cancel()
    self.timer = nil
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = self.unwrapInboundIn(data)
    self.seen.writeBuffer(&bytes)
    guard let finding = Self.finding(self.seen.readableBytesView) else { return }
    do {
      try self.configure(finding, context.channel)
    } catch {
      context.fireErrorCaught(error)
      context.close(promise: nil)
      return
    }
    let seen = self.seen
    self.seen = ByteBuffer()
    context.fireChannelRead(self.wrapInboundOut(seen))
    context.fireChannelReadComplete()
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent || (event is ConnectionsShortEvent && self.isPressed) {
      context.close(promise: nil)
    }
    if event is ConnectionsShortEvent { self.isPressed = true }
    context.fireUserInboundEventTriggered(event)
  }

  /// Nil while the bytes still agree with the preface but are fewer. No HTTP/1 method begins as the preface does.
  static func finding(_ bytes: ByteBufferView) -> Finding? {
    if bytes.first == 0x16 { return TLSRecord.begins(bytes).map { $0 ? .tls : .http1 } }
    guard zip(bytes, self.preface).allSatisfy({ $0 == $1 }) else { return .http1 }
    return bytes.count >= self.preface.count ? .http2 : nil
  }
}
