// The listening side of a connection between nodes: a greeting or an inquiry first, then messages.
//
// It must never: hand over a message before the greeting was checked; say more to a stranger than why it is refused.

import Logging
import NIOCore
import RaftCore
import Wire

/// `@unchecked Sendable`: used on its channel's event loop alone.
final class PeerReaderHandler: ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  struct Events: Sendable {
    let greeted: @Sendable (Hello, any Channel) -> Void
    /// Messages in the order in which they were sent.
    let received: @Sendable ([Message], NodeID) -> Void
  }

  private let registry: PeerRegistry
  private let logger: Logger
  private let events: Events
  private var gathered = ByteBuffer()
  private var peer: NodeID?
  private var isClosing = false

  init(registry: PeerRegistry, logger: Logger, events: Events) {
    self.registry = registry
    self.logger = logger
    self.events = events
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosing else { return }
    var piece = unwrapInboundIn(data)
    if gathered.readableBytes == 0 { gathered = piece } else { gathered.writeBuffer(&piece) }
    do {
      // A greeting that begins with the same three bytes would have to be longer than any may be.
      if peer == nil, TLSRecord.begins(gathered.readableBytesView) == true {
        throw PeerCodecError.damaged("the other end speaks TLS, and this node talks to its peers in plain text")
      }
      var messages: [Message] = []
      while !isClosing, let body = try PeerCodec.readFrame(from: &gathered, atMost: frameLimit) {
        if peer == nil {
          try open(body, context)
        } else {
          messages.append(try PeerCodec.read(body))
        }
      }
      if let peer, !messages.isEmpty { events.received(messages, peer) }
      if gathered.readableBytes == 0 { gathered = ByteBuffer() } else { gathered.discardReadBytes() }
    } catch {
      logger.error("a peer's connection is closed", metadata: ["cause": "\(error)"])
      isClosing = true
      context.close(promise: nil)
    }
  }

  private var frameLimit: Int { peer == nil ? PeerCodec.maxOpeningBytes : PeerCodec.maxFrameBytes }

  private func open(_ body: ByteBuffer, _ context: ChannelHandlerContext) throws(PeerCodecError) {
    var answer = context.channel.allocator.buffer(capacity: 256)
    switch try Opening.read(body) {
    case .hello(let hello):
      guard let refusal = registry.refusal(of: hello) else {
        peer = hello.from
        return events.greeted(hello, context.channel)
      }
      logger.error("a peer is refused", metadata: ["cause": "\(refusal.text)"])
      refusal.write(into: &answer)
    case .inquiry:
      registry.answer.write(into: &answer)
    case .answer, .refusal:
      throw .damaged("a connection that begins with an answer")
    }
    isClosing = true
    context.writeAndFlush(wrapOutboundOut(answer)).assumeIsolated().whenComplete { _ in context.close(promise: nil) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
