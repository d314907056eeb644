// Inserts of one row each. Some are sent with a token that has been superseded, and must be refused.

import Measurement
package import NIOCore
import Wire

final class WriteDriver: LoadDriver {
  private let path: String
  private let token: [(String, String)]
  private let staleToken: [(String, String)]
  private let staleShare: Double
  private let accepted: AcceptedWrites
  private let insert: ByteBuffer
  private let staleInsert: ByteBuffer
  private var random: SeededRandom

  init(_ plan: LoadPlan, _ place: LoopPlace, _ prepared: WritePrepared) {
    guard case .write(let database, _, let share) = plan.configuration.operation else {
      preconditionFailure("a load of \(plan.configuration.operation.name) is none of writes")
    }
    path = "/db/\(database)/execute?timings"
    token = prepared.token.map { [("Fencing-Token", $0)] } ?? []
    staleToken = prepared.staleToken.map { [("Fencing-Token", $0)] } ?? []
    staleShare = share
    accepted = prepared.accepted
    let letters = Array("abcdefghijklmnopqrstuvwxyz0123456789".utf8)
    var noise = SeededRandom(seed: plan.configuration.seed, stream: 0x7772_6974_65)
    let value = String(
      decoding: (0..<plan.configuration.valueSizeBytes).map { _ in letters[Int(noise.below(36))] }, as: UTF8.self)
    func body(_ isStale: Int) -> ByteBuffer {
      ByteBuffer(
        string: "[[\"INSERT INTO \(WriteScenario.table)(is_stale, value) VALUES (\(isStale), ?)\", \"\(value)\"]]")
    }
    (insert, staleInsert) = (body(0), body(1))
    random = SeededRandom(seed: plan.configuration.seed, stream: 0x7374_616c_65 &+ UInt64(place.index))
  }

  func start(_ call: OperationCall, on connection: HTTPConnection, lane: Int, _ sink: any OperationSink) {
    let isStale = staleShare > 0 && random.unitInterval() < staleShare
    connection.post(path, isStale ? staleToken : token, isStale ? staleInsert : insert) { [accepted] result in
      switch result {
      case .failure(let status): sink.ended(call.ticket, OperationEnding(.failed(status)))
      case .success(let answer):
        let ending = Self.judge(answer, isStale: isStale)
        if !isStale, case .succeeded = ending.kind { accepted.add() }
        sink.ended(call.ticket, ending)
      }
    }
  }

  private static func judge(_ answer: HTTPAnswer, isStale: Bool) -> OperationEnding {
    switch (answer.status, isStale) {
    case (200, false):
      let found = WriteAnswer(answer.body)
      guard !found.hasError else {
        return OperationEnding(.failed(RPCStatus(.unknown, "\(String(buffer: answer.body).prefix(200))")))
      }
      var ending = OperationEnding(.succeeded)
      ending.targetNanoseconds = found.nanoseconds
      return ending
    case (200, true): return OperationEnding(.succeeded, violation: "a write with a stale token was accepted")
    case (409, true): return OperationEnding(.refused)
    default:
      let text = String(buffer: answer.body).prefix(200)
      return OperationEnding(.failed(RPCStatus(.failedPrecondition, "the gateway answered \(answer.status): \(text)")))
    }
  }
}

/// What is read of the answer to a write, without building it.
package struct WriteAnswer {
  package let hasError: Bool
  /// What the gateway says that the request took it: the member `time` of the answer, in seconds.
  package let nanoseconds: UInt64?

  package init(_ body: ByteBuffer) {
    (hasError, nanoseconds) = body.withUnsafeReadableBytes { bytes in
      (Self.find("\"error\":", bytes) != nil, Self.find("\"time\":", bytes).flatMap { Self.seconds(bytes[$0...]) })
    }
  }

  /// Where the bytes behind `text` begin, the last time that it occurs.
  private static func find(_ text: StaticString, _ bytes: UnsafeRawBufferPointer) -> Int? {
    let wanted = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    var start = bytes.count - wanted.count
    while start >= 0 {
      if bytes[start] == wanted[0], bytes[start..<start + wanted.count].elementsEqual(wanted) {
        return start + wanted.count
      }
      start -= 1
    }
    return nil
  }

  private static func seconds(_ bytes: Slice<UnsafeRawBufferPointer>) -> UInt64? {
    let text = bytes.prefix { $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: "}") }
    guard let seconds = Double(String(decoding: text, as: UTF8.self)), seconds >= 0, seconds < 1e6 else { return nil }
    return UInt64(seconds * 1e9)
  }
}
