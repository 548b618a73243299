-- Bids with their auction and its seller: a join of three.
SELECT b.auction, b.bidder, b.price, b.date_time, a.item_name, a.category, p.name, p.city, p.state
FROM bid b
JOIN auction a ON b.auction = a.id
JOIN person p ON a.seller = p.id
