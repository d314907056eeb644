// Lease renewals, as clients make them: on a stream for each connection, which carries the renewals of many leases.

import Measurement
import NIOCore
import Protocol
import Wire

final class RenewalDriver: LoadDriver {
  private let leases: [Int64]
  private var next = 0
  /// One for each connection, the newest.
  private var streams: [Stream?]
  /// The operations that wait for the answer about a lease, the oldest first.
  private var waiting: [Int64: [OperationTable.Ticket]] = [:]

  init(_ place: LoopPlace, _ prepared: WirePrepared) {
    leases = prepared.leases.indices.filter { $0 % place.count == place.index }.map { prepared.leases[$0] }
    streams = [Stream?](repeating: nil, count: place.lanes)
  }

  func begin(on connection: WireConnection, lane: Int, _ sink: any OperationSink) -> EventLoopFuture<Void> {
    let handler = Stream(driver: NIOLoopBound(self, eventLoop: connection.eventLoop), sink: sink)
    handler.call.value = connection.openStream(RPCPath.Lease.leaseKeepAlive, handler: handler)
    streams[lane] = handler
    return connection.eventLoop.makeSucceededVoidFuture()
  }

  func start(_ call: OperationCall, on connection: WireConnection, lane: Int, _ sink: any OperationSink) {
    let lease = leases[next]
    next = next + 1 == leases.count ? 0 : next + 1
    guard let stream = streams[lane]?.call.value else {
      return sink.ended(call.ticket, OperationEnding(.failed(RPCStatus(.unavailable, "the stream has ended"))))
    }
    waiting[lease, default: []].append(call.ticket)
    streams[lane]?.underway.value[call.ticket] = lease
    stream.send(.encoding(Etcdserverpb_LeaseKeepAliveRequest.with { $0.id = lease }))
  }

  func forget(_ ticket: OperationTable.Ticket) {
    for stream in streams { stream?.underway.value[ticket] = nil }
    for lease in leases { waiting[lease]?.removeAll { $0 == ticket } }
  }

  private func answered(_ bytes: ByteBuffer, _ stream: Stream, _ sink: any OperationSink) {
    guard let answer = try? Etcdserverpb_LeaseKeepAliveResponse(received: bytes),
      let ticket = waiting[answer.id]?.first
    else { return }
    waiting[answer.id]?.removeFirst()
    stream.underway.value[ticket] = nil
    let violation = answer.ttl > 0 ? nil : "lease \(answer.id) is gone, which was renewed in time"
    sink.ended(ticket, OperationEnding(.succeeded, violation: violation))
  }

  private func ended(_ stream: Stream, _ status: RPCStatus, _ sink: any OperationSink) {
    for lane in streams.indices where streams[lane] === stream { streams[lane] = nil }
    let lost = stream.underway.value
    stream.underway.value = [:]
    let reason = status.code == .ok ? RPCStatus(.unavailable, "the target ended the stream") : status
    for (ticket, lease) in lost {
      waiting[lease]?.removeAll { $0 == ticket }
      sink.ended(ticket, OperationEnding(.failed(reason)))
    }
  }

  private final class Stream: ClientStreamHandler {
    let call: NIOLoopBoundBox<ClientStream?>
    let underway: NIOLoopBoundBox<[OperationTable.Ticket: Int64]>
    private let driver: NIOLoopBound<RenewalDriver>
    private let sink: any OperationSink

    init(driver: NIOLoopBound<RenewalDriver>, sink: any OperationSink) {
      self.driver = driver
      self.sink = sink
      call = NIOLoopBoundBox(nil, eventLoop: driver.eventLoop)
      underway = NIOLoopBoundBox([:], eventLoop: driver.eventLoop)
    }

    func received(_ message: ByteBuffer) { driver.value.answered(message, self, sink) }
    func closed(_ status: RPCStatus) { driver.value.ended(self, status, sink) }
  }
}
