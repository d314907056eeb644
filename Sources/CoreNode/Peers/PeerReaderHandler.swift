// The listening side of a connection between nodes: a greeting or an inquiry first, then messages.
//
// It must never: hand over a message before the greeting was checked; say more to a stranger than why it is refused.

import Logging
import NIOConcurrencyHelpers
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

  /// How long a stranger may take to say who it is.
  static let openingTimeout = TimeAmount.seconds(10)

  private let registry: PeerRegistry
  private let logger: Logger
  private let events: Events
  private let complaints: Complaints
  private let openingTimeout: TimeAmount
  private var opening: Scheduled<Void>?
  private var gathered = ByteBuffer()
  private var peer: NodeID?
  private var isClosing = false

  init(
    registry: PeerRegistry, logger: Logger, complaints: Complaints, events: Events,
    openingTimeout: TimeAmount = PeerReaderHandler.openingTimeout
  ) {
    self.registry = registry
    self.logger = logger
    self.complaints = complaints
    self.events = events
    self.openingTimeout = openingTimeout
  }

  func handlerAdded(context: ChannelHandlerContext) {
    opening = context.eventLoop.assumeIsolated().scheduleTask(in: openingTimeout) { [self] in
      complain("it did not say who it is", context)
      context.close(promise: nil)
    }
  }

  func handlerRemoved(context: ChannelHandlerContext) { opening?.cancel() }

  /// Strangers may come as often as they like and must not fill the disk with what is said of them.
  private func complain(_ cause: String, _ context: ChannelHandlerContext) {
    guard let unsaid = complaints.next() else { return }
    logger.error(
      "a peer's connection is closed",
      metadata: [
        "cause": "\(cause)", "from": "\(context.remoteAddress?.description ?? "?")", "more-unsaid": "\(unsaid)",
      ])
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
      complain("\(error)", context)
      isClosing = true
      context.close(promise: nil)
    }
  }

  private var frameLimit: Int { peer == nil ? PeerCodec.maxGreetingBytes : PeerCodec.maxFrameBytes }

  private func open(_ body: ByteBuffer, _ context: ChannelHandlerContext) throws(PeerCodecError) {
    var answer = context.channel.allocator.buffer(capacity: 256)
    switch try Opening.read(body) {
    case .hello(let hello):
      guard let refusal = registry.refusal(of: hello) else {
        peer = hello.from
        opening?.cancel()
        return events.greeted(hello, context.channel)
      }
      if complaints.next() != nil { logger.error("a peer is refused", metadata: ["cause": "\(refusal.text)"]) }
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

/// Lets one complaint through in a while, and counts the others. Any thread.
final class Complaints: Sendable {
  private static let interval = TimeAmount.seconds(5)
  /// So many in a row are said at once: a cluster that starts with wrong addresses has a few of them.
  private static let burst = 8

  private struct State {
    var left = burst
    var refilled = NIODeadline.now()
    var unsaid = 0
  }

  private let state = NIOLockedValueBox(State())

  /// How many were left unsaid before this one; nil when this one is to be left unsaid.
  func next() -> Int? {
    let now = NIODeadline.now()
    return state.withLockedValue { state in
      let earned = Int((now - state.refilled).nanoseconds / Self.interval.nanoseconds)
      if earned > 0 {
        state.left = min(Self.burst, state.left + earned)
        state.refilled = now
      }
      guard state.left > 0 else {
        state.unsaid += 1
        return nil
      }
      state.left -= 1
      defer { state.unsaid = 0 }
      return state.unsaid
    }
  }
}
