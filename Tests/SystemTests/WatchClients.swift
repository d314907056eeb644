// Clients of the Watch service: one that notes all that it hears, and one that does not read.

import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Protocol
import Testing
import Wire

/// One Watch stream and what came on it.
final class WatchClient: ClientStreamHandler {
  struct Seen: Sendable {
    var created = 0
    /// The revisions of the events of each watcher, in the order in which they came.
    var revisions: [Int64: [Int64]] = [:]
    var eventCount = 0
    var cancelled: [Int64: Etcdserverpb_WatchResponse] = [:]
    /// For values that say when they were sent: how long each event took, in nanoseconds.
    var latencies: [UInt64] = []
    var end: RPCStatus?
  }

  private struct State {
    var seen = Seen()
    var stream: ClientStream?
    var waiters: [(isWanted: @Sendable (Seen) -> Bool, continuation: CheckedContinuation<Void, Never>)] = []
  }

  private let state = NIOLockedValueBox(State())
  private let measures: Bool

  /// - Parameter measures: whether values are times, as `Clock.text` makes them.
  init(on connection: WireConnection, measures: Bool = false) {
    self.measures = measures
    let stream = connection.openStream(RPCPath.Watch.watch, handler: self)
    state.withLockedValue { $0.stream = stream }
  }

  var seen: Seen { state.withLockedValue { $0.seen } }

  func watch(_ key: String, rangeEnd: String = "", from revision: Int64 = 0) throws {
    var request = Etcdserverpb_WatchRequest()
    request.createRequest.key = Data(key.utf8)
    request.createRequest.rangeEnd = Data(rangeEnd.utf8)
    request.createRequest.startRevision = revision
    try state.withLockedValue { $0.stream }?.send(request)
  }

  func cancel() { state.withLockedValue { $0.stream }?.cancel() }

  /// Forgets latencies, so that the next ones are of another phase.
  func takeLatencies() -> [UInt64] {
    state.withLockedValue { state in
      defer { state.seen.latencies = [] }
      return state.seen.latencies
    }
  }

  func wait(until isWanted: @escaping @Sendable (Seen) -> Bool) async {
    await withCheckedContinuation { continuation in
      let isDone = state.withLockedValue { state in
        if isWanted(state.seen) { return true }
        state.waiters.append((isWanted, continuation))
        return false
      }
      if isDone { continuation.resume() }
    }
  }

  func received(_ message: ByteBuffer) {
    let now = Clock.nanoseconds
    guard let response = try? Etcdserverpb_WatchResponse(received: message) else { return }
    change { seen in
      if response.created { seen.created += 1 }
      if response.canceled { seen.cancelled[response.watchID] = response }
      seen.eventCount += response.events.count
      for event in response.events {
        if measures {
          seen.latencies.append(now &- Clock.read(event.kv.value))
        } else {
          seen.revisions[response.watchID, default: []].append(event.kv.modRevision)
        }
      }
    }
  }

  func closed(_ status: RPCStatus) { change { $0.end = status } }

  private func change(_ body: (inout Seen) -> Void) {
    let ready = state.withLockedValue { state in
      body(&state.seen)
      let seen = state.seen
      let ready = state.waiters.filter { $0.isWanted(seen) }
      if !ready.isEmpty { state.waiters.removeAll { $0.isWanted(seen) } }
      return ready
    }
    for waiter in ready { waiter.continuation.resume() }
  }
}

/// The time since some instant, the same for all of a process, and values that hold one.
enum Clock {
  static var nanoseconds: UInt64 { NIODeadline.now().uptimeNanoseconds }
  static var text: Data { Data(String(nanoseconds).utf8) }

  /// The time at the beginning of a value; the rest of it is filling.
  static func read(_ value: Data) -> UInt64 {
    value.prefix { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }.reduce(0) { $0 * 10 + UInt64($1 - 48) }
  }
}

/// A client that asks for watchers and then leaves the socket alone.
final class SilentWatchClient: Sendable {
  private let channel: any Channel
  private let received: Collector.Received

  /// Says that any number of bytes may be sent: what stops the server is the socket.
  static func connect(_ address: String) async throws -> SilentWatchClient {
    let parts = address.split(separator: ":")
    let received = Collector.Received()
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(Collector(received))
        }
      }
      .connect(host: String(parts[0]), port: try #require(Int(parts[1]))).get()
    let client = SilentWatchClient(channel, received)
    var hello = ByteBuffer(string: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    hello.writeImmutableBuffer(frame(4, 0, 0, [0, 4, 0x7F, 0xFF, 0xFF, 0xFF]))
    hello.writeImmutableBuffer(frame(8, 0, 0, [0x7F, 0xFE, 0, 0]))
    var block: [UInt8] = []
    for (name, value) in [
      (":method", "POST"), (":scheme", "http"), (":path", RPCPath.Watch.watch), (":authority", "x"),
      ("content-type", "application/grpc"), ("te", "trailers"),
    ] {
      block += [0, UInt8(name.utf8.count)]
      block += name.utf8
      block.append(UInt8(value.utf8.count))
      block += value.utf8
    }
    hello.writeImmutableBuffer(frame(1, 4, 1, block))
    try await channel.writeAndFlush(hello).get()
    return client
  }

  private init(_ channel: any Channel, _ received: Collector.Received) {
    self.channel = channel
    self.received = received
  }

  private static func frame(_ kind: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8]) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.writeBytes([UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 0xFF), UInt8(payload.count & 0xFF)])
    buffer.writeBytes([kind, flags])
    buffer.writeInteger(stream)
    buffer.writeBytes(payload)
    return buffer
  }

  func watch(_ key: String, times: Int = 1) async throws {
    var request = Etcdserverpb_WatchRequest()
    request.createRequest.key = Data(key.utf8)
    let message: [UInt8] = try request.serializedBytes()
    let part: [UInt8] = [0, 0, 0, 0, UInt8(message.count)] + message
    for _ in 0..<times { try await channel.writeAndFlush(Self.frame(0, 0, 1, part)).get() }
  }

  func setReading(_ isReading: Bool) async throws {
    try await channel.setOption(.autoRead, value: isReading).get()
  }

  func close() { channel.close(promise: nil) }

  /// Waits until the answers that came are as wanted, and returns them.
  func answers(
    until isWanted: ([Etcdserverpb_WatchResponse]) -> Bool
  ) async throws -> [Etcdserverpb_WatchResponse] {
    while true {
      let answers = try self.answers
      if isWanted(answers) { return answers }
      try #require(channel.isActive, "the server closed the connection")
      var news = received.news.makeAsyncIterator()
      _ = await news.next()
    }
  }

  private var answers: [Etcdserverpb_WatchResponse] {
    get throws {
      var (rest, data) = (received.bytes.withLockedValue { $0 }, ByteBuffer())
      while let head = rest.getBytes(at: rest.readerIndex, length: 9) {
        let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
        guard rest.readableBytes >= 9 + length else { break }
        rest.moveReaderIndex(forwardBy: 9)
        guard var payload = rest.readSlice(length: length) else { break }
        if head[3] == 0 { data.writeBuffer(&payload) }
      }
      var found: [Etcdserverpb_WatchResponse] = []
      while let length = data.getInteger(at: data.readerIndex + 1, as: UInt32.self),
        data.readableBytes >= 5 + Int(length)
      {
        data.moveReaderIndex(forwardBy: 5)
        guard let message = data.readSlice(length: Int(length)) else { break }
        found.append(try Etcdserverpb_WatchResponse(received: message))
      }
      return found
    }
  }

  private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    struct Received: Sendable {
      let bytes = NIOLockedValueBox(ByteBuffer())
      let news: AsyncStream<Void>
      let feed: AsyncStream<Void>.Continuation

      init() { (news, feed) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }
    }

    private let received: Received

    init(_ received: Received) { self.received = received }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let piece = unwrapInboundIn(data)
      received.bytes.withLockedValue { _ = $0.writeImmutableBuffer(piece) }
      received.feed.yield()
    }

    func channelInactive(context: ChannelHandlerContext) { received.feed.yield() }
  }
}

extension WireConnection {
  @discardableResult
  func put(_ key: String, _ value: Data = Data(), lease: Int64 = 0) async throws -> Int64 {
    var request = Etcdserverpb_PutRequest()
    request.key = Data(key.utf8)
    request.value = value
    request.lease = lease
    return try await unary(RPCPath.KV.put, request, as: Etcdserverpb_PutResponse.self).header.revision
  }

  /// In one transaction, and so at one revision.
  func putMany(_ keys: [String]) async throws {
    var request = Etcdserverpb_TxnRequest()
    request.success = keys.map { key in
      var operation = Etcdserverpb_RequestOp()
      operation.requestPut.key = Data(key.utf8)
      return operation
    }
    _ = try await unary(RPCPath.KV.txn, request, as: Etcdserverpb_TxnResponse.self)
  }

  func compact(_ revision: Int64) async throws {
    var request = Etcdserverpb_CompactionRequest()
    request.revision = revision
    _ = try await unary(RPCPath.KV.compact, request, as: Etcdserverpb_CompactionResponse.self)
  }
}

extension Array<UInt64> {
  /// A percentile of times in nanoseconds, in milliseconds.
  func milliseconds(at percent: Double) -> Double {
    guard !isEmpty else { return .nan }
    let sorted = sorted()
    let place = Int((Double(count - 1) * percent / 100).rounded())
    return Double(sorted[Swift.max(0, Swift.min(place, count - 1))]) / 1e6
  }
}
