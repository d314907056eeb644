import Glibc
import LogStorage
import RaftCore
import Testing

@Suite("Damage is found and named")
struct CorruptionTests {
  private func marked(_ index: UInt64) -> [UInt8] {
    Array("payload-of-entry-\(index)-in-the-log".utf8)
  }

  /// Without prepared space behind it the file ends with its last page.
  private let small = LogStorage.Options(fileStepBytes: 0, diskReserveBytes: 0, journalBytes: 64 << 10)

  private func directoryWithMarkedEntries() throws -> TemporaryDirectory {
    let directory = TemporaryDirectory()
    let batch = [persist(1, term: 1, (1...30).map { entry($0, marked($0)) })]
    try directory.write(batch, small)
    return directory
  }

  @Test(
    "A flipped bit in a payload ends the log before it, and what is lost is told", arguments: [1, 17, 30] as [UInt64])
  func flippedPayload(index: UInt64) throws {
    let directory = try directoryWithMarkedEntries()
    #expect(directory.flipBit(inEvery: marked(index)) > 0)
    let recovered = try directory.reopened()
    #expect(recovered.lastIndex == Index(index - 1))
    #expect(recovered.damage == Damage(Loss(first: Index(index), last: Index(30), term: Term(1))))
    #expect(recovered.tail == (1..<index).map { entry($0, marked($0)) })
  }

  @Test("A log that may not be damaged is refused as it is, with what is lost, and nothing is cut")
  func refused() throws {
    let directory = try directoryWithMarkedEntries()
    #expect(directory.flipBit(inEvery: marked(17)) > 0)
    let refusal = StorageError.damaged(
      path: directory.log, Damage(Loss(first: Index(17), last: Index(30), term: Term(1))))
    #expect("\(refusal)".contains("index 17 to index 30"))
    for _ in 0..<2 {
      #expect(throws: refusal) { try directory.open(LogStorage.Options(refusesDamage: true)) }
    }
    #expect(directory.flipBit(inEvery: marked(17)) == 0)
    #expect(positions(of: marked(18), in: directory.dataBytes()).isEmpty == false)
  }

  @Test("Every single bit of a record is guarded: header, payload and place")
  func everyBit() throws {
    let directory = try directoryWithMarkedEntries()
    let pristine = directory.dataBytes()
    let payload = marked(30)
    let record = (try #require(positions(of: payload, in: pristine).last) - 24)..<pristine.count
    for offset in 0..<(24 + payload.count) {
      var damaged = pristine
      damaged[record.lowerBound + offset] ^= 1 << UInt8(offset % 8)
      directory.overwriteData(damaged)
      let recovered = try directory.reopened(small)
      #expect(recovered.lastIndex == Index(29), "byte \(offset) of the record")
      #expect(recovered.damage == Damage(Loss(first: Index(30), last: Index(30), term: Term(1))))
    }
    directory.overwriteData(pristine)
    let whole = try directory.reopened()
    #expect(whole.lastIndex == Index(30) && whole.damage == nil)
  }

  @Test("Whatever byte of a page's own structure is wrong, the log is refused, or tells what it lost")
  func everyBitOfStructure() throws {
    let directory = try directoryWithMarkedEntries()
    // A file is prepared ahead of its use, and LMDB may look there.
    let pristine = directory.dataBytes() + [UInt8](repeating: 0, count: 1 << 20)
    // The leaf's header with its offsets, and the header of the newest entry's node.
    let record = try #require(positions(of: marked(30), in: pristine).last) - 24
    let page = record / 4096 * 4096
    let structure = Array(page..<(page + 16 + 2 * 33)) + Array((record - 16)..<record)
    for place in structure {
      for bit in [UInt8(place % 8), 7] {
        var damaged = pristine
        damaged[place] ^= 1 << bit
        directory.overwriteData(damaged)
        do throws(StorageError) {
          let (storage, recovered) = try LogStorage.open(
            directory: directory.log, identity: someIdentity, options: small)
          storage.close()
          #expect(recovered.tail == (1...30).prefix(recovered.tail.count).map { entry($0, marked($0)) })
          let isTold = recovered.damage.map { $0.lastLost >= Index(30) } ?? false
          #expect(recovered.lastIndex == Index(30) || isTold, "byte \(place - page), bit \(bit)")
        } catch {
          switch error {
          case .corruptFile, .notALog, .corruptIdentity, .corruptHardState: break
          default: Issue.record("byte \(place - page), bit \(bit): \(error)")
          }
        }
      }
    }
  }

  @Test("Whatever byte before a long value is wrong, the log is refused or tells what it lost")
  func overflowPages() throws {
    let directory = TemporaryDirectory()
    let options = LogStorage.Options(fileStepBytes: 0)
    let long = [UInt8](repeating: 0x6B, count: 9000)
    try directory.write([persist(1, term: 1, [entry(1), entry(2, long), entry(3)])], options)
    let pristine = directory.dataBytes() + [UInt8](repeating: 0, count: 1 << 20)
    let record = try #require(positions(of: long, in: pristine).last) - 24
    for place in (record - 16)..<(record + 24) {
      var damaged = pristine
      damaged[place] ^= 0x21
      directory.overwriteData(damaged)
      do throws(StorageError) {
        let (storage, recovered) = try LogStorage.open(
          directory: directory.log, identity: someIdentity, options: small)
        storage.close()
        #expect(recovered.lastIndex == Index(3) || recovered.damage?.lastLost == Index(3), "byte \(place - record)")
      } catch {
        guard case .corruptFile = error else {
          Issue.record("byte \(place - record): \(error)")
          continue
        }
      }
    }
  }

  @Test("Damage that appears while the log is open is found by the read that meets it")
  func damageUnderAnOpenLog() throws {
    let directory = try directoryWithMarkedEntries()
    let storage = try directory.open().storage
    defer { storage.close() }
    #expect(directory.flipBit(inEvery: marked(12)) > 0)
    #expect(try storage.entries(after: .beforeFirst, through: Index(11), maxBytes: .max).count == 11)
    #expect(throws: StorageError.self) {
      try storage.entries(after: Index(11), through: Index(12), maxBytes: .max)
    }
  }

  @Test("A flipped bit in the term and vote is refused")
  func flippedHardState() throws {
    let directory = TemporaryDirectory()
    let options = LogStorage.Options(fileStepBytes: 0)
    try directory.write([persist(1, term: 0x0102_0304_0506, votedFor: 0x0A0B_0C0D_0E0F)], options)
    #expect(directory.flipBit(inEvery: [6, 5, 4, 3, 2, 1, 0, 0, 0x0F, 0x0E, 0x0D, 0x0C, 0x0B, 0x0A, 0, 0]) > 0)
    let error = #expect(throws: StorageError.self) { try directory.open() }
    guard case .corruptHardState = error else {
      Issue.record("found \(String(describing: error))")
      return
    }
  }

  @Test("A flipped bit in the identity is refused")
  func flippedIdentity() throws {
    let directory = try directoryWithMarkedEntries()
    #expect(directory.flipBit(inEvery: Array("portcull".utf8)) > 0)
    let error = #expect(throws: StorageError.self) { try directory.open() }
    guard case .corruptIdentity = error else {
      Issue.record("found \(String(describing: error))")
      return
    }
  }

  @Test("A newer format is refused as newer, and not as damage")
  func newerFormat() throws {
    let directory = try directoryWithMarkedEntries()
    var bytes = directory.dataBytes()
    let places = positions(of: Array("portcull".utf8), in: bytes).map { $0 - 8 }
    #expect(!places.isEmpty)
    for place in places {
      bytes[place + 4] = 3
      // The sum is over the record's key, 0, and what follows the sum: this much every format keeps to.
      let summed = [UInt8](repeating: 0, count: 8) + bytes[(place + 4)..<(place + 48)]
      let sum = summed.withUnsafeBytes { CRC32C.checksum($0) }
      withUnsafeBytes(of: sum.littleEndian) { bytes.replaceSubrange(place..<(place + 4), with: $0) }
    }
    directory.overwriteData(bytes)
    let refusal = StorageError.newerFormat(path: directory.log, found: 3, supported: 2)
    #expect(throws: refusal) { try directory.open() }
    #expect(throws: refusal) { try LogStorage.existingIdentity(directory: directory.log) }
  }

  @Test("A file that was cut short is refused instead of ending the process when its pages are touched")
  func shortFile() throws {
    let directory = try directoryWithMarkedEntries()
    #expect(truncate(directory.dataFile, off_t(directory.dataBytes().count - 4096)) == 0)
    let error = #expect(throws: StorageError.self) { try directory.open() }
    guard case .corruptFile = error else {
      Issue.record("found \(String(describing: error))")
      return
    }
  }

  @Test("A data file of something else is refused as no log")
  func foreignFile() throws {
    let directory = TemporaryDirectory()
    _ = try directory.reopened()
    directory.overwriteData([UInt8](repeating: 0x55, count: 8192))
    let error = #expect(throws: StorageError.self) { try directory.open() }
    guard case .notALog = error else {
      Issue.record("found \(String(describing: error))")
      return
    }
  }
}
