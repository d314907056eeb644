// Reads a page as XML, so that a test sees what a parser sees: elements, their attributes, and text without escaping.

import Foundation
import FoundationXML
import Reporting

final class PageReader: NSObject, XMLParserDelegate {
  struct Element {
    let name: String
    let attributes: [String: String]
    var text = ""
  }

  /// In the order in which they open.
  private(set) var elements: [Element] = []
  /// All text outside the style sheet, elements being apart by a space.
  private(set) var text = ""
  /// Where the page is not well-formed. Nil when it is.
  private(set) var fault: String?
  private var open: [Int] = []

  init(_ page: String) {
    super.init()
    let parser = XMLParser(data: Data(page.utf8))
    parser.delegate = self
    if !parser.parse() {
      fault = "line \(parser.lineNumber), column \(parser.columnNumber): \(parser.parserError.debugDescription)"
    }
  }

  func all(_ name: String, _ role: String? = nil) -> [Element] {
    elements.filter { $0.name == name && (role == nil || $0.attributes["class"] == role) }
  }

  func parser(
    _ parser: XMLParser, didStartElement elementName: String, namespaceURI: String?, qualifiedName qName: String?,
    attributes attributeDict: [String: String]
  ) {
    open.append(elements.count)
    elements.append(Element(name: elementName, attributes: attributeDict))
    text += " "
  }

  func parser(
    _ parser: XMLParser, didEndElement elementName: String, namespaceURI: String?, qualifiedName qName: String?
  ) {
    open.removeLast()
    text += " "
  }

  func parser(_ parser: XMLParser, foundCharacters string: String) {
    guard let index = open.last else { return }
    elements[index].text += string
    if elements[index].name != "style" { text += string }
  }
}
