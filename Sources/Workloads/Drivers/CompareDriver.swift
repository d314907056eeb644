// Compare-and-swap: a key is put if it is as this loop saw it last. Others that put it meanwhile make the comparison fail, which
// is a refusal and no failure; its answer says what the key is now.

import Measurement
import NIOCore
import Protocol
import Wire

final class CompareDriver: LoadDriver {
  private let template: PutTemplate
  private let distribution: ZipfDistribution
  private let oracle: RevisionOracle
  private var random: SeededRandom
  /// The newest revision that was seen of each key; 0 for one that is not known to be there.
  private var seen: [Int64]

  init(_ plan: LoadPlan, _ place: LoopPlace, _ oracle: RevisionOracle, zipfExponent: Double) {
    template = PutTemplate(plan.configuration)
    distribution = ZipfDistribution(ranks: plan.configuration.keyCount, exponent: zipfExponent)
    self.oracle = oracle
    random = SeededRandom(seed: plan.configuration.seed, stream: 0x6361_7300 &+ UInt64(place.index))
    seen = [Int64](repeating: 0, count: Int(plan.configuration.keyCount))
  }

  func start(_ call: OperationCall, on connection: WireConnection, lane: Int, _ sink: any OperationSink) {
    let key = distribution.draw(&random)
    let (expected, before) = (seen[Int(key)], oracle.highest)
    let bound = NIOLoopBound(self, eventLoop: connection.eventLoop)
    guard let request = try? request(key, expected) else { preconditionFailure("a transaction can be encoded") }
    connection.unary(RPCPath.KV.txn, request) { result in
      sink.ended(
        call.ticket, OperationEnding(result) { bound.value.judge($0, key: key, expected: expected, before: before) })
    }
  }

  private func request(_ key: UInt64, _ expected: Int64) throws -> ByteBuffer {
    let put = try Etcdserverpb_PutRequest(received: template.request(forKey: key))
    let name = put.key
    let transaction = Etcdserverpb_TxnRequest.with {
      $0.compare = [
        .with {
          $0.target = .mod
          $0.result = .equal
          $0.key = name
          $0.modRevision = expected
        }
      ]
      $0.success = [.with { $0.requestPut = put }]
      $0.failure = [.with { $0.requestRange = .with { $0.key = name } }]
    }
    return ByteBuffer(bytes: try transaction.serializedBytes() as [UInt8])
  }

  private func judge(_ bytes: ByteBuffer, key: UInt64, expected: Int64, before: Int64) -> OperationEnding {
    guard let answer = try? Etcdserverpb_TxnResponse(received: bytes) else {
      return OperationEnding(.succeeded, violation: "an answer that is no TxnResponse")
    }
    let revision = answer.header.revision
    if answer.succeeded {
      seen[Int(key)] = Swift.max(seen[Int(key)], revision)
      return OperationEnding(.succeeded, violation: oracle.checkWrite(revision, after: before))
    }
    let found = answer.responses.first?.responseRange.kvs.first?.modRevision ?? 0
    var violation = oracle.checkRead(revision, after: before)
    if found == expected {
      violation = "the comparison with revision \(expected) failed, and that is the key's revision"
    }
    if found > revision { violation = "a key of revision \(found) in a store of revision \(revision)" }
    seen[Int(key)] = Swift.max(seen[Int(key)], found)
    return OperationEnding(.refused, violation: violation)
  }
}
